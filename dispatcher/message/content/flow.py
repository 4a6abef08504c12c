"""The interactive type `flow`: a button that opens a form of several screens."""

from collections.abc import Mapping
from typing import Any, Literal, Unpack

from dispatcher.message.content.built import filled
from dispatcher.message.content.frame import Around, Interactive, frame
from dispatcher.message.content.problem import Problem
from dispatcher.message.content.shape import exactly_one, given, record, text, word

CTA_CHARACTERS_MAX = 30
"""Meta's schema; some clients stop at 20."""

MESSAGE_VERSION = "3"


def _data(value: Any, at: str, found: list[Problem]) -> None:
    # Meta's page says object and shows a string that holds JSON.
    if not isinstance(value, dict | str) or not value:
        found.append(Problem(at, f"must be an object that is not empty, {given(value)}"))


FLOW = frame(
    record(
        {
            "name": word("flow"),
            "parameters": record(
                {"flow_message_version": word(MESSAGE_VERSION), "flow_cta": text(CTA_CHARACTERS_MAX)},
                {
                    "flow_id": text(),
                    "flow_name": text(),
                    "flow_token": text(least=0),
                    "mode": word("draft", "published"),
                    "flow_action": word("navigate", "data_exchange"),
                    "flow_action_payload": record({"screen": text()}, {"data": _data}),
                },
                exactly_one("flow_id", "flow_name"),
            ),
        }
    )
)


class Flow(Interactive):
    """A button `cta` that opens a flow, known by its id or its name, at `screen` with `data` if they are given."""

    def __init__(  # noqa: PLR0913 - the fields Meta documents
        self,
        body: str,
        cta: str,
        *,
        flow_id: str | None = None,
        flow_name: str | None = None,
        token: str | None = None,
        screen: str | None = None,
        data: Mapping[str, Any] | None = None,
        flow_action: Literal["navigate", "data_exchange"] | None = None,
        mode: Literal["draft", "published"] | None = None,
        **around: Unpack[Around],
    ) -> None:
        starts = screen is not None or data is not None
        parameters = filled(
            flow_message_version=MESSAGE_VERSION,
            flow_id=flow_id,
            flow_name=flow_name,
            flow_cta=cta,
            flow_token=token,
            mode=mode,
            flow_action=flow_action or ("navigate" if starts else None),
            flow_action_payload=filled(screen=screen, data=data) if starts else None,
        )
        super().__init__("flow", {"name": "flow", "parameters": parameters}, body, check=FLOW, **around)
