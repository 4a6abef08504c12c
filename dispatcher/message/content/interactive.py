"""The kind `interactive`: which of its types are checked, and how. Other types pass."""

from dispatcher.message.content.buttons import BUTTON, BUTTON_TITLE_CHARACTERS_MAX, CTA_URL, LOCATION_REQUEST
from dispatcher.message.content.carousel import CAROUSEL
from dispatcher.message.content.flow import FLOW
from dispatcher.message.content.frame import frame
from dispatcher.message.content.lists import LIST
from dispatcher.message.content.products import CATALOG, PRODUCT, PRODUCT_LIST
from dispatcher.message.content.shape import by_type, integer, record, text, word

CALL_MINUTES_MAX = 43_200
CALL_PAYLOAD_CHARACTERS_MAX = 512

_VOICE_CALL = frame(
    record(
        {"name": word("voice_call")},
        {
            "parameters": record(
                {},
                {
                    "display_text": text(BUTTON_TITLE_CHARACTERS_MAX),
                    "ttl_minutes": integer(1, CALL_MINUTES_MAX),
                    "payload": text(CALL_PAYLOAD_CHARACTERS_MAX, least=0),
                },
            )
        },
    )
)

INTERACTIVE = by_type(
    {
        "button": BUTTON,
        "carousel": CAROUSEL,
        "catalog_message": CATALOG,
        "cta_url": CTA_URL,
        "flow": FLOW,
        "list": LIST,
        "location_request_message": LOCATION_REQUEST,
        "product": PRODUCT,
        "product_list": PRODUCT_LIST,
        "voice_call": _VOICE_CALL,
    }
)
