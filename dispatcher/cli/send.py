"""`dispatcher send`: queues one message, or the lines of a file."""

import json
from typing import TYPE_CHECKING, Any, Final

import typer

from dispatcher.cli import sendflags
from dispatcher.cli.output import Json, write_json

if TYPE_CHECKING:
    from dispatcher.cli.session import Session
    from dispatcher.message.message import Ticket

WAIT_S: Final = 60.0
"""Seconds in which a full Redis may take nothing before a file is given up."""

_Flags = dict[str, Any]


def send(
    *,
    number: sendflags.Number = None,
    to: sendflags.To = None,
    text: sendflags.Text = None,
    template: sendflags.Template = None,
    language: sendflags.Language = None,
    param: sendflags.Param = None,
    content: sendflags.Content = None,
    key: sendflags.Key = None,
    replaces: sendflags.Replaces = None,
    priority: sendflags.Priority = None,
    category: sendflags.Category = None,
    campaign: sendflags.Campaign = None,
    not_before: sendflags.NotBefore = None,
    ttl: sendflags.Ttl = None,
    callback_data: sendflags.CallbackData = None,
    on_uncertain: sendflags.OnUncertain = None,
    file: sendflags.File = None,
    batch: sendflags.Batch = None,
    refused: sendflags.Refused = None,
    wait: sendflags.Wait = None,
    as_json: Json = False,
) -> None:
    """Queue a message, or those of a file.

    Give --number, --to and one of --text, --template and --content; or --file: flags then hold for lines without.
    """
    of_any = {
        "number": number, "priority": priority, "category": category, "campaign": campaign, "not_before": not_before,
        "ttl_s": ttl, "callback_data": callback_data, "on_uncertain": on_uncertain,
    }  # fmt: skip
    of_one = {"to": to, "key": key, "replaces": replaces}
    said = {"text": text, "template": template, "language": language, "param": param, "content": content}
    of_file = {"batch": batch, "refused": refused, "wait": wait}
    if file is None:
        _send_one(of_any | of_one, said, of_file, as_json=as_json)
    else:
        _send_file(file, of_any, of_one | said, of_file, as_json=as_json)


def _refuse(flags: _Flags, beside: str) -> None:
    if given := [f"--{name}" for name, value in flags.items() if value is not None and value != []]:
        raise typer.BadParameter(f"{', '.join(given)}: not with {beside}")


def _send_file(path: str, defaults: _Flags, of_one: _Flags, of_file: _Flags, *, as_json: bool) -> None:
    from dispatcher.cli.feed import Terms
    from dispatcher.cli.sendfile import send_file

    _refuse(of_one, "--file")
    given = {name: value for name, value in defaults.items() if value is not None}
    wait_s = WAIT_S if of_file["wait"] is None else of_file["wait"]
    send_file(path, Terms(given, of_file["batch"], wait_s), of_file["refused"], as_json=as_json)


def _send_one(fields: _Flags, said: _Flags, of_file: _Flags, *, as_json: bool) -> None:
    from dispatcher.cli.session import ask

    _refuse(of_file, "a single message")
    if fields["number"] is None or fields["to"] is None:
        raise typer.BadParameter("give --number and --to, or --file")
    given = {**fields, "content": _content(**said)}

    async def work(session: "Session") -> "Ticket":
        return await session.dispatcher.send(given)

    ticket = ask(work, publish=True)
    if as_json:
        write_json({"key": ticket.key, "state": ticket.state, "duplicate": ticket.duplicate})
    else:
        print(f"{ticket.key} {ticket.state}" + (" (known already, not queued again)" if ticket.duplicate else ""))


def _content(
    *, text: str | None, template: str | None, content: str | None, language: str | None, param: list[str] | None
) -> Any:
    if sum(given is not None for given in (text, template, content)) != 1:
        raise typer.BadParameter("give one of --text, --template and --content")
    if template is None and (language is not None or param):
        raise typer.BadParameter("--language and --param go with --template")
    if text is not None:
        return {"type": "text", "text": {"body": text}}
    if template is not None:
        return {"type": "template", "template": _template(template, language, param or [])}
    try:
        return json.loads(content or "")
    except ValueError as exc:
        raise typer.BadParameter(f"--content is not JSON: {exc}") from None


def _template(name: str, language: str | None, params: list[str]) -> _Flags:
    if language is None:
        raise typer.BadParameter("--template needs its --language, such as en_US")
    template: dict[str, Any] = {"name": name, "language": {"code": language}}
    if params:
        parameters = [{"type": "text", "text": value} for value in params]
        template["components"] = [{"type": "body", "parameters": parameters}]
    return template
