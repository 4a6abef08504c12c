"""Delivers WhatsApp messages through the Cloud API: queued on Redis, paced per number, each key once.

A name is imported when it is first used (PEP 562): redis, pydantic and phonenumbers take most of the time of a start.
"""

from typing import TYPE_CHECKING, Any, Final

from dispatcher.errors import DispatcherError, KeyConflict, QueueFull, QueueUnavailable, Refused, UnknownNumber

if TYPE_CHECKING:
    from dispatcher.client import Dispatcher
    from dispatcher.message.content import (
        Audio,
        Buttons,
        Carousel,
        Catalog,
        Contacts,
        CtaUrl,
        Document,
        Flow,
        Image,
        List,
        Location,
        LocationRequest,
        Otp,
        Product,
        ProductList,
        Reaction,
        Sticker,
        Template,
        Text,
        Video,
    )
    from dispatcher.message.event import Event, Incoming
    from dispatcher.message.message import Category, Message, OnUncertain, Priority, State, Ticket

__all__ = [
    "Audio",
    "Buttons",
    "Carousel",
    "Catalog",
    "Category",
    "Contacts",
    "CtaUrl",
    "Dispatcher",
    "DispatcherError",
    "Document",
    "Event",
    "Flow",
    "Image",
    "Incoming",
    "KeyConflict",
    "List",
    "Location",
    "LocationRequest",
    "Message",
    "OnUncertain",
    "Otp",
    "Priority",
    "Product",
    "ProductList",
    "QueueFull",
    "QueueUnavailable",
    "Reaction",
    "Refused",
    "State",
    "Sticker",
    "Template",
    "Text",
    "Ticket",
    "UnknownNumber",
    "Video",
]

_MODULES: Final = {
    "Dispatcher": "client",
    "Event": "message.event",
    "Incoming": "message.event",
    **dict.fromkeys(("Category", "OnUncertain", "Priority"), "message.priority"),
    "State": "message.states",
    **dict.fromkeys(("Message", "Ticket"), "message.message"),
}
"""Where a name comes from; one that is not here is a kind of content."""

if not TYPE_CHECKING:  # else a checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'message.content')}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
