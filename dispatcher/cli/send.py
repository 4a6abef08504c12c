"""`dispatcher send`: queues one message."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dispatcher.cli.durations import duration_s, moment
from dispatcher.cli.output import Json, write_json
from dispatcher.priority import Category, OnUncertain, Priority

if TYPE_CHECKING:
    from dispatcher.cli.session import Session
    from dispatcher.message import Ticket


def send(
    *,
    number: Annotated[str, typer.Option(help="The number to send from: id or name.")],
    to: Annotated[str, typer.Option(help="The recipient: a phone such as +15551234567, or a user id.")],
    text: Annotated[str | None, typer.Option(help="Send this text.")] = None,
    template: Annotated[str | None, typer.Option(help="Send the template of this name.")] = None,
    language: Annotated[str | None, typer.Option(help="The template's language, such as en_US.")] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="A text for the template's body; repeat it for the next.")
    ] = None,
    content: Annotated[str | None, typer.Option(help="Send this content: JSON as Meta documents it.")] = None,
    key: Annotated[str | None, typer.Option(help="The idempotency key; one is made if left out.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="The lane; normal if left out.")] = None,
    category: Annotated[Category | None, typer.Option(help="What it is for; the lane's if left out.")] = None,
    campaign: Annotated[str | None, typer.Option(help="The campaign, to be stopped together.")] = None,
    not_before: Annotated[
        datetime | None, typer.Option(parser=moment, metavar="TIME", help="Not earlier than this (ISO 8601 with zone).")
    ] = None,
    ttl: Annotated[
        float | None,
        typer.Option(parser=duration_s, metavar="DURATION", help="Do not send it later than this: 90s, 15m, 2h, 1d."),
    ] = None,
    callback_data: Annotated[str | None, typer.Option(help="What events of the message carry back.")] = None,
    on_uncertain: Annotated[OnUncertain | None, typer.Option(help="What to do if the answer is lost.")] = None,
    as_json: Json = False,
) -> None:
    """Queue a message.

    Give one of --text, --template and --content. The numbers of a readable numbers file are made known first.
    """
    given = {
        "number": number,
        "to": to,
        "content": _content(text, template, content, language, param or []),
        "key": key,
        "priority": priority,
        "category": category,
        "campaign": campaign,
        "not_before": not_before,
        "ttl_s": ttl,
        "callback_data": callback_data,
        "on_uncertain": on_uncertain,
    }
    from dispatcher.cli.session import ask

    async def work(session: "Session") -> "Ticket":
        return await session.dispatcher.send(given)

    ticket = ask(work, publish=True)
    if as_json:
        write_json({"key": ticket.key, "state": ticket.state, "duplicate": ticket.duplicate})
    else:
        print(f"{ticket.key} {ticket.state}" + (" (known already, not queued again)" if ticket.duplicate else ""))


def _content(
    text: str | None, template: str | None, content: str | None, language: str | None, params: list[str]
) -> Any:
    if sum(given is not None for given in (text, template, content)) != 1:
        raise typer.BadParameter("give one of --text, --template and --content")
    if template is None and (language is not None or params):
        raise typer.BadParameter("--language and --param go with --template")
    if text is not None:
        return {"type": "text", "text": {"body": text}}
    if template is not None:
        return {"type": "template", "template": _template(template, language, params)}
    try:
        return json.loads(content or "")
    except ValueError as exc:
        raise typer.BadParameter(f"--content is not JSON: {exc}") from None


def _template(name: str, language: str | None, params: list[str]) -> dict[str, Any]:
    if language is None:
        raise typer.BadParameter("--template needs its --language, such as en_US")
    template: dict[str, Any] = {"name": name, "language": {"code": language}}
    if params:
        parameters = [{"type": "text", "text": value} for value in params]
        template["components"] = [{"type": "body", "parameters": parameters}]
    return template
