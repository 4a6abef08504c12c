"""The log of an exporter: what many scrapes in a row meet is written once."""

from typing import Any

import structlog

from dispatcher.observe import logs


class ExporterLog:
    """One a process; its methods are called by one thread at a time."""

    def __init__(self, process: str) -> None:
        self._log: Any = structlog.get_logger().bind(process=process)
        self._is_away = False
        self._broken: set[str] = set()

    def away(self, reason: str) -> None:
        """Redis did not answer."""
        if not self._is_away:
            self._is_away = True
            self._log.warning(logs.REDIS_LOST, reason=reason)

    def back(self) -> None:
        """Redis answers."""
        if self._is_away:
            self._is_away = False
            self._log.info(logs.REDIS_REGAINED)

    def broken(self, part: str, reason: str) -> None:
        """Something in Redis is not what it should be; said once a part."""
        if part not in self._broken:
            self._broken.add(part)
            self._log.error(logs.TASK_FAILED, task=part, reason=reason)

    def failed(self, exc: Exception) -> None:
        """A bug of ours showed."""
        self._log.error(logs.TASK_FAILED, task="look", exc_info=exc)

    def said(self, event: str, **fields: Any) -> None:
        """Something about the process itself."""
        self._log.info(event, **fields)
