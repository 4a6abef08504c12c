"""Delivers WhatsApp messages through the Cloud API: queued on Redis, paced per number, each key once."""

from dispatcher.client import Dispatcher
from dispatcher.errors import DispatcherError, KeyConflict, QueueFull, QueueUnavailable, Refused, UnknownNumber
from dispatcher.message import Category, Message, OnUncertain, Priority, State, Ticket

__all__ = [
    "Category",
    "Dispatcher",
    "DispatcherError",
    "KeyConflict",
    "Message",
    "OnUncertain",
    "Priority",
    "QueueFull",
    "QueueUnavailable",
    "Refused",
    "State",
    "Ticket",
    "UnknownNumber",
]
