"""The flags of `dispatcher send`, each with its type and its words. It must stay light: `--help` imports this."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from dispatcher.cli.durations import duration_s, moment
from dispatcher.message import priority

# What one message says.

To = Annotated[str | None, typer.Option(help="The recipient: a phone such as +15551234567, or a user id.")]
Text = Annotated[str | None, typer.Option(help="Send this text.")]
Template = Annotated[str | None, typer.Option(help="Send the template of this name.")]
Language = Annotated[str | None, typer.Option(help="The template's language, such as en_US.")]
Param = Annotated[list[str] | None, typer.Option(help="A text for the template's body; repeat it for the next.")]
Content = Annotated[str | None, typer.Option(help="Send this content: JSON as Meta documents it.")]
Key = Annotated[str | None, typer.Option(help="The idempotency key; one is made if left out.")]
Replaces = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Cancel the message of this key, if it waits and has the same recipient."),
]

# What holds for one message, or for all lines of a file that do not say it themselves.

Number = Annotated[str | None, typer.Option(help="The number to send from: id or name.")]
Priority = Annotated[priority.Priority | None, typer.Option(help="The lane; normal if left out.")]
Category = Annotated[priority.Category | None, typer.Option(help="What it is for; the lane's if left out.")]
Campaign = Annotated[str | None, typer.Option(help="The campaign, to be stopped together.")]
NotBefore = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="Not earlier than this (ISO 8601 with zone).")
]
Ttl = Annotated[
    float | None,
    typer.Option(parser=duration_s, metavar="DURATION", help="Do not send it later than this: 90s, 15m, 2h, 1d."),
]
CallbackData = Annotated[str | None, typer.Option(help="What events of the message carry back.")]
OnUncertain = Annotated[priority.OnUncertain | None, typer.Option(help="What to do if the answer is lost.")]

# The file, and how it is sent.

File = Annotated[
    str | None, typer.Option(metavar="PATH", help="Send the messages in this file of JSON lines; - is standard input.")
]
Batch = Annotated[
    str | None, typer.Option(metavar="NAME", help="With --file: gives lines without a key one that begins like this.")
]
Refused = Annotated[
    Path | None, typer.Option(metavar="PATH", help="With --file: write all refused lines here, as JSON lines.")
]
Wait = Annotated[
    float | None,
    typer.Option(
        parser=duration_s,
        metavar="DURATION",
        help="With --file: how long a full Redis is waited for; 60s if left out.",
    ),
]
