"""The log of a broker under test."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import structlog

from valetkey_broker.observability.logging import configure_logging


class Log:
    """Every line that was logged."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        """All of it, as it was written."""
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All of it, parsed."""
        return [json.loads(line) for line in self.text.splitlines()]

    def events(self, event: str) -> list[dict[str, Any]]:
        """Returns the lines of one event."""
        return [line for line in self.lines if line["event"] == event]


@contextlib.contextmanager
def captured_log(level: str = "debug", log_format: str = "json") -> Iterator[Log]:
    """Captures what the broker logs, through its own processors; begin before the broker does."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configure_logging(log_format, level, stream)
    try:
        yield Log(stream)
    finally:
        structlog.reset_defaults()
        root.handlers[:] = before[0]
        root.setLevel(before[1])
