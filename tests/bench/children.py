"""What a measurement runs in processes of their own: `python -m tests.bench.children <what> <arguments>`.

Each ends with the process that started it, however that ends: its standard input is a pipe, and closes. A line that
comes in there tells one that has said `ready` to begin.
"""

import os
import sys
import threading
from pathlib import Path


def _end_with_parent(told: threading.Event) -> None:
    while os.read(0, 1):
        told.set()
    os._exit(1)


def _probed(written_to: str) -> None:
    """Be a worker process that writes down how its event loop fared."""
    from tests.bench import reload

    reload.work(Path(written_to))


def main() -> None:
    told = threading.Event()
    threading.Thread(target=_end_with_parent, args=(told,), daemon=True).start()
    what, *arguments = sys.argv[1:]
    if what == "sink":
        from tests.bench import sink

        sink.run()
    elif what == "probed":
        _probed(*arguments)
    elif what == "arq":
        from tests.bench import stock_arq

        redis_url, url, max_jobs = arguments
        stock_arq.work(redis_url, url, max_jobs, told.wait)
    elif what == "raw":
        from tests.bench import raw_loop

        url, count, in_flight, prefix = arguments
        raw_loop.run(url, count, in_flight, prefix, told.wait)
    else:
        raise SystemExit(f"no such child: {what}")


if __name__ == "__main__":
    main()
