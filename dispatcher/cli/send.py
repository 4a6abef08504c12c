"""`dispatcher send`: queues one message, or the lines of a file."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from dispatcher.cli.durations import duration_s, moment
from dispatcher.cli.output import Json, write_json
from dispatcher.priority import Category, OnUncertain, Priority

if TYPE_CHECKING:
    from dispatcher.cli.session import Session
    from dispatcher.message import Ticket

WAIT_S: Final = 60.0
"""Seconds in which a full Redis may take nothing before a file is given up."""


def send(
    *,
    number: Annotated[str | None, typer.Option(help="The number to send from: id or name.")] = None,
    to: Annotated[str | None, typer.Option(help="The recipient: a phone such as +15551234567, or a user id.")] = None,
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
    file: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Send the messages in this file of JSON lines; - is standard input."),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --file: gives lines without a key one that begins like this."),
    ] = None,
    refused: Annotated[
        Path | None, typer.Option(metavar="PATH", help="With --file: write all refused lines here, as JSON lines.")
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            parser=duration_s,
            metavar="DURATION",
            help="With --file: how long a full Redis is waited for; 60s if left out.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Queue a message, or those of a file.

    Give --number, --to and one of --text, --template and --content.

    Or give --file: flags such as --number and --campaign then hold for lines without.

    The numbers of a readable numbers file are made known first.
    """
    of_one = {"to": to, "text": text, "template": template, "language": language, "content": content, "key": key}
    of_any = {
        "number": number,
        "priority": priority,
        "category": category,
        "campaign": campaign,
        "not_before": not_before,
        "ttl_s": ttl,
        "callback_data": callback_data,
        "on_uncertain": on_uncertain,
    }
    if file is not None:
        _refuse({**of_one, "param": param}, "--file")
        _send_file(file, of_any, batch, wait, refused, as_json=as_json)
    _refuse({"batch": batch, "refused": refused, "wait": wait}, "a single message")
    if number is None or to is None:
        raise typer.BadParameter("give --number and --to, or --file")
    sent = {"to": to, "key": key, "content": _content(text, template, content, language, param or [])}
    _send_one({**of_any, **sent}, as_json=as_json)


def _refuse(flags: dict[str, object], beside: str) -> None:
    if given := [f"--{name}" for name, value in flags.items() if value is not None and value != []]:
        raise typer.BadParameter(f"{', '.join(given)}: not with {beside}")


def _send_file(
    path: str, defaults: dict[str, Any], batch: str | None, wait_s: float | None, refused: Path | None, *, as_json: bool
) -> NoReturn:
    from dispatcher.cli.feed import Terms
    from dispatcher.cli.sendfile import send_file

    given = {name: value for name, value in defaults.items() if value is not None}
    terms = Terms(given, batch, WAIT_S if wait_s is None else wait_s)
    send_file(path, terms, refused, as_json=as_json)


def _send_one(given: dict[str, Any], *, as_json: bool) -> None:
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
