"""The kind `location`: a place on the map."""

from dispatcher.message.content.built import Content, filled
from dispatcher.message.content.shape import number, record, text

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
