"""`dispatcher cancel`: takes a waiting message back."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from dispatcher.cli.output import Json, fail, write_json

if TYPE_CHECKING:
    from dispatcher.cli.session import Session

_TOO_LATE: Final = {
    "marked": "{key} is {state}: too late, it will not be sent again",
    "settled": "{key} is {state} already: there is nothing to cancel",
    "unknown": "{key} is not known, or no longer: check the key and DISPATCHER_CELL",
}


def cancel(key: Annotated[str, typer.Argument(help="The key of the message.")], as_json: Json = False) -> None:
    """Cancel a waiting message; ends with 1 if it was too late."""
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
