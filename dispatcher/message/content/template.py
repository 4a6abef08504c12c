"""The kind `template`: a name, a language, and what fills its places.

Only what is wrong for every template is checked: the template itself, and so the number and types of its
parameters, is known to Meta alone. Components and parameters of unknown types pass.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dispatcher.message.content.built import Content, filled
from dispatcher.message.content.components import COMPONENTS, in_places, texts
from dispatcher.message.content.parameters import Parameter, Parameters
from dispatcher.message.content.shape import record, text, word

NAME_CHARACTERS_MAX = 512

_LANGUAGE = record(
    {"code": text(wanted='a language such as "en_US"')}, {"policy": word("deterministic")}, like='{"code": "en_US"}'
)

TEMPLATE = record({"name": text(NAME_CHARACTERS_MAX), "language": _LANGUAGE}, {"components": COMPONENTS})


class Template(Content):
    """A template in a language, with what fills its header, body and buttons.

    `buttons` are in their order, with None for those that nothing fills; `cards` are `TemplateCard`s; `components`
    are put in as they are, such as a `LimitedTimeOffer`.
    """

    def __init__(  # noqa: PLR0913 - the parts Meta documents
        self,
        name: str,
        language: str,
        *,
        header: Parameter | None = None,
        body: Parameters = (),
        buttons: Sequence[Mapping[str, Any] | None] = (),
        cards: Sequence[Mapping[str, Any]] = (),
        components: Sequence[Mapping[str, Any]] = (),
        reply_to: str | None = None,
    ) -> None:
        carousel = [{"card_index": index, **card} for index, card in enumerate(cards)]
        parts = [*texts(header, body), *components, *in_places(buttons)]
        if carousel:
            parts.append({"type": "carousel", "cards": carousel})
        value = filled(name=name, language={"code": language}, components=parts or None)
        super().__init__("template", value, TEMPLATE, reply_to)
