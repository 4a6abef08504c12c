"""Graph error codes with the status and title that Meta's papers give them; knows nothing of requests."""

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """One row of Meta's error table."""

    status: int
    title: str


# Meta's papers disagree on the status of these: 400 in the error table, 429 in the OpenAPI document.
LIMIT_CODES = frozenset({4, 17, 32, 341, 613, 80007, 130429, 131048, 131056})
TRANSIENT_CODES = frozenset({1, 2, 131000, 131016})
RATE_LIMIT = 130429
PAIR_LIMIT = 131056
PAUSED_TEMPLATE = 132015

UNKNOWN = ErrorCode(400, "Unknown error")
CODES: dict[int, ErrorCode] = {
    0: ErrorCode(401, "AuthException"),
    1: ErrorCode(500, "API Unknown"),
    2: ErrorCode(503, "API Service"),
    3: ErrorCode(500, "API Method"),
    4: ErrorCode(400, "Application request limit reached"),
    10: ErrorCode(403, "Application does not have permission for this action"),
    17: ErrorCode(400, "User request limit reached"),
    32: ErrorCode(400, "Page request limit reached"),
    33: ErrorCode(400, "Parameter value is not valid"),
    100: ErrorCode(400, "Invalid parameter"),
    102: ErrorCode(401, "Session has expired"),
    104: ErrorCode(401, "An access token is required to request this resource"),
    190: ErrorCode(401, "Invalid OAuth access token"),
    192: ErrorCode(400, "Invalid phone number"),
    200: ErrorCode(403, "Permission error"),
    341: ErrorCode(400, "Application limit reached"),
    368: ErrorCode(403, "Temporarily blocked for policies violations"),
    613: ErrorCode(400, "Calls to this api have exceeded the rate limit"),
    803: ErrorCode(404, "Some of the aliases you requested do not exist"),
    2500: ErrorCode(400, "Unknown path components"),
    80007: ErrorCode(400, "Rate limit issues"),
    130403: ErrorCode(400, "Business is blocked by the user"),
    130429: ErrorCode(400, "Rate limit hit"),
    130472: ErrorCode(400, "User's number is part of an experiment"),
    130497: ErrorCode(403, "Business account is restricted from messaging users in this country"),
    130501: ErrorCode(400, "Message type is not currently supported"),
    131000: ErrorCode(500, "Something went wrong"),
    131005: ErrorCode(403, "Access denied"),
    131008: ErrorCode(400, "Required parameter is missing"),
    131009: ErrorCode(400, "Parameter value is not valid"),
    131016: ErrorCode(500, "Service unavailable"),
    131021: ErrorCode(400, "Recipient cannot be sender"),
    131026: ErrorCode(400, "Message undeliverable"),
    131030: ErrorCode(400, "Recipient phone number not in allowed list"),
    131031: ErrorCode(403, "Account has been locked"),
    131037: ErrorCode(400, "WhatsApp provided number needs display name approval before message can be sent"),
    131042: ErrorCode(400, "Business eligibility payment issue"),
    131045: ErrorCode(500, "Incorrect certificate"),
    131047: ErrorCode(400, "Re-engagement message"),
    131048: ErrorCode(400, "Spam rate limit hit"),
    131049: ErrorCode(400, "This message was not delivered to maintain healthy ecosystem engagement"),
    131050: ErrorCode(400, "Recipient has chosen to stop receiving marketing messages"),
    131051: ErrorCode(400, "Unsupported message type"),
    131052: ErrorCode(400, "Media download error"),
    131053: ErrorCode(400, "Media upload error"),
    131055: ErrorCode(400, "Method not allowed"),
    131056: ErrorCode(400, "(Business Account, Consumer Account) pair rate limit hit"),
    131057: ErrorCode(500, "Account in maintenance mode"),
    131062: ErrorCode(400, "Business-scoped user id recipients are not supported for this message"),
    131063: ErrorCode(400, "Marketing messages are disabled on Cloud API"),
    131064: ErrorCode(400, "Messaging limit hit"),
    132000: ErrorCode(400, "Number of parameters does not match the expected number of params"),
    132001: ErrorCode(404, "Template name does not exist in the translation"),
    132005: ErrorCode(400, "Translated text too long"),
    132007: ErrorCode(400, "Template format character policy violated"),
    132008: ErrorCode(400, "Template parameter value is invalid"),
    132012: ErrorCode(400, "Parameter format does not match format in the created template"),
    132015: ErrorCode(400, "Template is paused"),
    132016: ErrorCode(400, "Template is disabled"),
    132018: ErrorCode(400, "Template validation error"),
    132068: ErrorCode(400, "Flow is in blocked state"),
    132069: ErrorCode(400, "Flow is in throttled state"),
    133000: ErrorCode(500, "Incomplete deregistration"),
    133004: ErrorCode(503, "Server temporarily unavailable"),
    133005: ErrorCode(400, "Two step verification PIN mismatch"),
    133006: ErrorCode(400, "Phone number re-verification needed"),
    133008: ErrorCode(400, "Too many two step verification PIN guesses"),
    133009: ErrorCode(400, "Two step verification PIN guessed too fast"),
    133010: ErrorCode(400, "Phone number not registered"),
    133015: ErrorCode(400, "Please wait a few minutes before attempting to register this phone number"),
    133016: ErrorCode(400, "Account register or deregister rate limit exceeded"),
    134011: ErrorCode(400, "WhatsApp Payments terms of service has not been accepted"),
    134100: ErrorCode(400, "Only marketing templates are supported"),
    134101: ErrorCode(400, "Template is being synchronised"),
    134102: ErrorCode(500, "Template is unavailable"),
    135000: ErrorCode(400, "Generic user error"),
    137000: ErrorCode(400, "Recipient identity key hash mismatch"),
}


def status_of(code: int, limit_status: int) -> int:
    """The HTTP status of an error; `limit_status` decides for those whose status Meta leaves open."""
    return limit_status if code in LIMIT_CODES else CODES.get(code, UNKNOWN).status


def title_of(code: int) -> str:
    """The title Meta gives an error."""
    return CODES.get(code, UNKNOWN).title
