"""Delivers WhatsApp messages through the Cloud API: queued on Redis, paced per number, each key once."""

from dispatcher.client import Dispatcher
from dispatcher.message.content import Audio, Buttons, Carousel, Catalog, Contacts, CtaUrl, Document, Flow, Image, List, Location, LocationRequest, Otp, Product, ProductList, Reaction, Sticker, Template, Text, Video
from dispatcher.errors import DispatcherError, KeyConflict, QueueFull, QueueUnavailable, Refused, UnknownNumber
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
