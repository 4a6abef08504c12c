from typing import Any

import pytest

from dispatcher.message import content as contents
from dispatcher.message.content import ContentError, Problem

TEXT = {"type": "text", "text": {"body": "Hello"}}


def problems(content: Any) -> list[Problem]:
    with pytest.raises(ContentError) as refused:
        contents.read(content)
    return list(refused.value.problems)


def text(**fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": fields}


def template(**fields: Any) -> dict[str, Any]:
    return {"type": "template", "template": {"name": "shipped", "language": {"code": "en_US"}} | fields}


# Envelope and kind


def test_the_envelope_that_is_always_the_same_is_dropped() -> None:
    assert contents.read({"messaging_product": "whatsapp", "recipient_type": "individual"} | TEXT) == TEXT


def test_an_envelope_that_asks_for_something_else_is_refused() -> None:
    assert problems({"messaging_product": "sms", "recipient_type": "group"} | TEXT) == [
        Problem("content.messaging_product", 'must be "whatsapp" or left out, given "sms"'),
        Problem("content.recipient_type", 'must be "individual" or left out, given "group"'),
    ]


@pytest.mark.parametrize(
    ("field", "own"),
    [
        ("to", "to"),
        ("recipient", "to"),
        ("biz_opaque_callback_data", "callback_data"),
        ("phone_number_id", "number"),
        ("priority", "priority"),
        ("ttl_s", "ttl_s"),
    ],
)
def test_what_the_message_says_itself_is_refused_in_the_content(field: str, own: str) -> None:
    assert problems(TEXT | {field: "x"}) == [
        Problem(f"content.{field}", f'does not belong into the content: use the message\'s own field "{own}"')
    ]


@pytest.mark.parametrize("kind", sorted(contents.KINDS - contents.CHECKS.keys()))
def test_a_kind_without_a_check_passes_untouched_and_implies_its_type(kind: str) -> None:
    thing = {"anything": [1, 2.5, None, {"deep": True}]}
    assert contents.read({kind: thing}) == {"type": kind, kind: thing}
    assert contents.read({"type": kind, kind: [thing]}) == {"type": kind, kind: [thing]}


def test_a_kind_nobody_knows_yet_passes_if_it_says_its_type() -> None:
    assert contents.read({"type": "hologram", "hologram": {"id": 1}}) == {"type": "hologram", "hologram": {"id": 1}}


def test_unknown_fields_pass_behind_the_type_and_its_object() -> None:
    context = {"message_id": "wamid.1"}
    given_content = {"category": "utility", "context": context, "text": {"body": "Hello", "new": [1]}, "type": "text"}
    assert list(contents.read(given_content).items()) == [
        ("type", "text"),
        ("text", {"body": "Hello", "new": [1]}),
        ("category", "utility"),
        ("context", context),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (5, Problem("content", "must be an object, given 5")),
        (None, Problem("content", "must be an object, given null")),
        ({}, Problem("content.type", 'must be a kind such as "text", next to an object of that name')),
        ({"type": None}, Problem("content.type", 'must be a string such as "text", given null')),
        ({"type": ["text"]}, Problem("content.type", 'must be a string such as "text", given a list')),
        ({"image": {}, "text": {}}, Problem("content.type", "must say which is meant of image, text")),
        ({"type": "image"}, Problem("content.image", 'must be an object, as type is "image", but it is missing')),
        (
            {"type": "txt", "text": {"body": "Hello"}},
            Problem('content["txt"]', 'must be an object, as type is "txt", but it is missing, did you mean "text"?'),
        ),
        (
            {"type": "text", "text": "Hello"},
            Problem("content.text", 'must be an object, as type is "text", given "Hello"'),
        ),
        ({"type": "text", "text": []}, Problem("content.text", 'must be an object, as type is "text", given a list')),
        (
            {"status": "read", "message_id": "wamid.1", "typing_indicator": {"type": "text"}},
            Problem("content", "marks a message as read or shows typing, which is no message and not queued"),
        ),
    ],
)
def test_what_is_no_content_is_refused(content: Any, problem: Problem) -> None:
    assert problems(content) == [problem]


# Text


@pytest.mark.parametrize("length", [1, 4096])
def test_a_text_within_its_limits_is_taken(length: int) -> None:
    assert contents.read(text(body="💬" * length, preview_url=True)) == text(body="💬" * length, preview_url=True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (text(), Problem("content.text.body", "must be a string of 1 to 4096 characters, but it is missing")),
        (text(body=5), Problem("content.text.body", "must be a string of 1 to 4096 characters, given 5")),
        (text(body=""), Problem("content.text.body", "must have 1 to 4096 characters, given 0")),
        (text(body="x" * 4097), Problem("content.text.body", "must have at most 4096 characters, given 4097")),
        (
            text(body="x", preview_url="yes"),
            Problem("content.text.preview_url", 'must be true or false, given "yes"'),
        ),
    ],
)
def test_a_text_outside_its_limits_is_refused(content: Any, problem: Problem) -> None:
    assert problems(content) == [problem]


# Template

NAMED = {"type": "text", "parameter_name": "who", "text": "Ana"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "x" * 512},
        {"language": {"code": "en_US", "policy": "deterministic", "new": 1}},
        {"components": []},
        {"components": [{"type": "body", "parameters": [NAMED, {"type": "hologram"}], "new": 1}]},
        {"components": [{"type": "button", "sub_type": "quick_reply", "index": 0}]},
        {
            "components": [
                {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": True}]}
            ]
        },
        {"components": [{"type": "carousel", "cards": [{"card_index": 0, "components": []}]}]},
    ],
)
def test_a_template_may_hold_what_is_unknown(fields: dict[str, Any]) -> None:
    assert contents.read(template(**fields)) == template(**fields)


NAME = "must be a string of 1 to 512 characters"
LANGUAGE = 'must be an object such as {"code": "en_US"}'
CODE = 'must be a language such as "en_US"'


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"name": 5}, "name", f"{NAME}, given 5"),
        ({"name": ""}, "name", "must have 1 to 512 characters, given 0"),
        ({"name": "x" * 513}, "name", "must have at most 512 characters, given 513"),
        ({"language": "en_US"}, "language", f'{LANGUAGE}, given "en_US"'),
        ({"language": {}}, "language.code", f"{CODE}, but it is missing"),
        ({"language": {"code": ""}}, "language.code", f'{CODE}, given ""'),
        ({"language": {"code": 5}}, "language.code", f"{CODE}, given 5"),
        ({"components": {}}, "components", "must be a list of objects, given an object"),
        ({"components": None}, "components", "must be a list of objects, given null"),
        ({"components": ["body"]}, "components[0]", 'must be an object, given "body"'),
        ({"components": [{}]}, "components[0].type", "must be a string, but it is missing"),
        (
            {"components": [{"type": "button", "sub_type": "url", "index": True}]},
            "components[0].index",
            "must be an integer from 0 to 9, given true",
        ),
        (
            {"components": [{"type": "body", "parameters": "Ana"}]},
            "components[0].parameters",
            'must be a list of objects, given "Ana"',
        ),
        (
            {"components": [{"type": "body", "parameters": [NAMED, "Ana"]}]},
            "components[0].parameters[1]",
            'must be an object, given "Ana"',
        ),
        (
            {"components": [{"type": "body", "parameters": [{"text": "Ana"}]}]},
            "components[0].parameters[0].type",
            "must be a string, but it is missing",
        ),
        (
            {"components": [{"type": "body", "parameters": [{"type": "text", "text": 4411}]}]},
            "components[0].parameters[0].text",
            "must be a string, given 4411",
        ),
        (
            {"components": [{"type": "body", "parameters": [{"type": "text"}]}]},
            "components[0].parameters[0].text",
            "must be a string, but it is missing",
        ),
    ],
)
def test_a_template_meta_would_refuse_is_refused(fields: dict[str, Any], field: str, reason: str) -> None:
    assert problems(template(**fields)) == [Problem(f"content.template.{field}", reason)]


def test_everything_wrong_is_said_at_once() -> None:
    assert problems({"to": "+15551234567", "template": {"components": [{}]}}) == [
        Problem("content.to", 'does not belong into the content: use the message\'s own field "to"'),
        Problem("content.template.name", f"{NAME}, but it is missing"),
        Problem("content.template.language", f"{LANGUAGE}, but it is missing"),
        Problem("content.template.components[0].type", "must be a string, but it is missing"),
    ]
