"""The kinds `contacts` and `location`: cards of an address book, and a place on the map."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from dispatcher.message.content.built import Content, filled
from dispatcher.message.content.shape import Check, Problem, array, given, number, record, text

CONTACTS_MAX = 257
"""Meta's page; its schema says 5."""

_BIRTHDAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _birthday(value: Any, at: str, found: list[Problem]) -> None:
    if not isinstance(value, str) or not _BIRTHDAY.fullmatch(value):
        found.append(Problem(at, f'must be a day such as "1912-06-23", {given(value)}'))


def _texts(*names: str) -> dict[str, Check]:
    return dict.fromkeys(names, text(least=0))


_NAME = record(
    {"formatted_name": text()},
    _texts("first_name", "last_name", "middle_name", "suffix", "prefix"),
    like=('{"formatted_name": "Ann Smith"}'),
)

CONTACTS = array(
    record(
        {"name": _NAME},
        {
            "phones": array(record({}, _texts("phone", "type", "wa_id"))),
            "emails": array(record({}, _texts("email", "type"))),
            "urls": array(record({}, _texts("url", "type"))),
            "addresses": array(record({}, _texts("street", "city", "state", "zip", "country", "country_code", "type"))),
            "org": record({}, _texts("company", "department", "title")),
            "birthday": _birthday,
        },
    ),
    CONTACTS_MAX,
    least=1,
)


class Contact(dict[str, Any]):
    """One card. A phone, e-mail or URL is a string, or an object such as `{"phone": "+1…", "type": "HOME"}`.

    WhatsApp shows as a name `name`; Meta wants one more part of it, for which the whole stands in `first_name` if no
    part is given in `name_parts`, such as `{"last_name": "Smith"}`.
    """

    def __init__(  # noqa: PLR0913 - the parts Meta documents
        self,
        name: str,
        *,
        name_parts: Mapping[str, str] | None = None,
        phones: Sequence[str | Mapping[str, str]] = (),
        emails: Sequence[str | Mapping[str, str]] = (),
        urls: Sequence[str | Mapping[str, str]] = (),
        addresses: Sequence[Mapping[str, str]] = (),
        org: Mapping[str, str] | None = None,
        birthday: date | None = None,
    ) -> None:
        super().__init__(
            filled(
                name={"formatted_name": name, **({"first_name": name} if name_parts is None else name_parts)},
                phones=_named("phone", phones),
                emails=_named("email", emails),
                urls=_named("url", urls),
                addresses=list(addresses) or None,
                org=org,
                birthday=None if birthday is None else birthday.isoformat(),
            )
        )


class Contacts(Content):
    """Cards of an address book."""

    def __init__(self, contacts: Sequence[Mapping[str, Any]], *, reply_to: str | None = None) -> None:
        super().__init__("contacts", list(contacts), CONTACTS, reply_to)


def _named(name: str, given: Sequence[str | Mapping[str, str]]) -> list[Any] | None:
    return [{name: item} if isinstance(item, str) else item for item in given] or None


LATITUDE_MAX = 90
LONGITUDE_MAX = 180

_ANY_TEXT = text(least=0)

LOCATION = record(
    {"latitude": number(LATITUDE_MAX), "longitude": number(LONGITUDE_MAX)}, {"name": _ANY_TEXT, "address": _ANY_TEXT}
)


class Location(Content):
    """A place in degrees; the address is shown only with a name."""

    def __init__(
        self,
        latitude: float,
        longitude: float,
        *,
        name: str | None = None,
        address: str | None = None,
        reply_to: str | None = None,
    ) -> None:
        value = filled(latitude=latitude, longitude=longitude, name=name, address=address)
        super().__init__("location", value, LOCATION, reply_to)
