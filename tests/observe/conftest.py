import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from dispatcher.observe import logs


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Where a set-up under test writes to; what pytest had set up comes back afterwards."""
    root, levels = logging.getLogger(), {name: logging.getLogger(name).level for name in logs._CHATTY}
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield io.StringIO()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
