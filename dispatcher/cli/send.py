"""`dispatcher send` and `cancel`: queue one message or the lines of a file, and take a waiting one back.

It must stay light: `--help` imports this.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dispatcher.cli.output import Json, duration_s, fail, moment, write_json
from dispatcher.message import priority as priorities

if TYPE_CHECKING:
    from dispatcher.cli.session import Session
    from dispatcher.message.message import Ticket

WAIT_S: Final = 60.0
"""Seconds in which a full Redis may take nothing before a file is given up."""

_TOO_LATE: Final = {
    "marked": "{key} is {state}: too late, it will not be sent again",
    "settled": "{key} is already {state}: there is nothing to cancel",
    "unknown": "{key} is not known (any more): check the key and DISPATCHER_CELL",
}

# What one message says.

To = Annotated[str | None, typer.Option(help="The recipient: a phone such as +15551234567, or a user id.")]
Text = Annotated[str | None, typer.Option(help="Send this text.")]
Template = Annotated[str | None, typer.Option(help="Send the template with this name.")]
Language = Annotated[str | None, typer.Option(help="The template's language, such as en_US.")]
Param = Annotated[list[str] | None, typer.Option(help="A text for the template's body; repeat it for each parameter.")]
Content = Annotated[str | None, typer.Option(help="Send this content: JSON as Meta documents it.")]
Key = Annotated[str | None, typer.Option(help="The idempotency key; generated if left out.")]
Replaces = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Cancel the message with this key if it still waits and has the same recipient."),
]

# What holds for one message, or for all lines of a file that do not say it themselves.

Number = Annotated[str | None, typer.Option(help="The number to send from, by id or name.")]
Priority = Annotated[priorities.Priority | None, typer.Option(help="The lane; normal if left out.")]
Category = Annotated[
    priorities.Category | None, typer.Option(help="What the message is for; the lane's category if left out.")
]
Campaign = Annotated[str | None, typer.Option(help="The campaign it belongs to; a campaign can be stopped as a whole.")]
NotBefore = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="Do not send it before this time (ISO 8601 with a zone)."),
]
Ttl = Annotated[
    float | None,
    typer.Option(
        parser=duration_s, metavar="DURATION", help="How long it may wait before it expires: 90s, 15m, 2h, 1d."
    ),
]
CallbackData = Annotated[str | None, typer.Option(help="A text that the message's events carry back to you.")]
OnUncertain = Annotated[
    priorities.OnUncertain | None,
    typer.Option(help="If Meta's answer is lost: send again on evidence that it was not accepted, or in any case."),
]

# The file, and how it is sent.

File = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Send the messages in this file, one JSON object a line; - is standard input."),
]
Batch = Annotated[
    str | None, typer.Option(metavar="NAME", help="With --file: give lines without a key one that starts with NAME.")
]
Refused = Annotated[
    Path | None, typer.Option(metavar="PATH", help="With --file: write all refused lines to this file, as JSON lines.")
]
Wait = Annotated[
    float | None,
    typer.Option(
        parser=duration_s,
        metavar="DURATION",
        help="With --file: how long to wait while Redis is full; 60s if left out.",
    ),
]

_Flags = dict[str, Any]


def send(
    *,
    number: Number = None,
    to: To = None,
    text: Text = None,
    template: Template = None,
    language: Language = None,
    param: Param = None,
    content: Content = None,
    key: Key = None,
    replaces: Replaces = None,
    priority: Priority = None,
    category: Category = None,
    campaign: Campaign = None,
    not_before: NotBefore = None,
    ttl: Ttl = None,
    callback_data: CallbackData = None,
    on_uncertain: OnUncertain = None,
    file: File = None,
    batch: Batch = None,
    refused: Refused = None,
    wait: Wait = None,
    as_json: Json = False,
) -> None:
    """Queue one message, or those in a file.

    Give --number, --to and one of --text, --template and --content. Or give --file: flags such as --number then apply
    to the lines that do not have that field.
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


def cancel(key: Annotated[str, typer.Argument(help="The key of the message.")], as_json: Json = False) -> None:
    """Cancel a waiting message; the exit code is 1 if it was too late."""
    from dispatcher.cli.session import ask

    async def work(session: "Session") -> tuple[str, str]:
        return await session.dispatcher.cancel(key)

    word, state = ask(work)
    answer = {"key": key, "result": word, "state": state or None}
    if word != "cancelled":
        fail(_TOO_LATE[word].format(key=key, state=state), answer=answer)
    if as_json:
        write_json(answer)
    else:
        print(f"{key} cancelled")


def _refuse(flags: _Flags, beside: str) -> None:
    if given := [f"--{name}" for name, value in flags.items() if value is not None and value != []]:
        raise typer.BadParameter(f"{', '.join(given)} cannot be used with {beside}")


def _send_file(path: str, defaults: _Flags, of_one: _Flags, of_file: _Flags, *, as_json: bool) -> None:
    from dispatcher.cli.sendfile import SendOptions, send_file

    _refuse(of_one, "--file")
    given = {name: value for name, value in defaults.items() if value is not None}
    wait_s = WAIT_S if of_file["wait"] is None else of_file["wait"]
    send_file(path, SendOptions(given, of_file["batch"], wait_s), of_file["refused"], as_json=as_json)


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
        print(f"{ticket.key} {ticket.state}" + (" (already known, not queued again)" if ticket.duplicate else ""))


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
        raise typer.BadParameter("--template needs --language, such as en_US")
    template: dict[str, Any] = {"name": name, "language": {"code": language}}
    if params:
        parameters = [{"type": "text", "text": value} for value in params]
        template["components"] = [{"type": "body", "parameters": parameters}]
    return template
