"""Writes `dashboards/*.json`: `make grafana`, or `python -m grafana.build`."""

from pathlib import Path
from typing import Final

from grafana.boards import BOARDS
from grafana.render import rendered

FOLDER: Final = Path(__file__).parent / "dashboards"


def files() -> dict[Path, str]:
    """Return what each file must hold."""
    return {FOLDER / f"{board.uid}.json": rendered(board) for board in BOARDS}


def main() -> None:
    """Write all, and remove what no board stands for."""
    wanted = files()
    for path in set(FOLDER.glob("*.json")) - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
