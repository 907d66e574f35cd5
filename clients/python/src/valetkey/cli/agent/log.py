"""The agent's log: one JSON object a line on standard error, and no signature in any."""

import json
import logging
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

_SIGNATURE = re.compile(r"(?i)(sig(?:nature)?(?:=|%3d))[^&\s'\"]+")


class AgentLog(logging.Handler):
    """Writes lines; as a handler, those of the library as well."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(logging.WARNING)
        self._stream = stream

    def info(self, event: str, **fields: Any) -> None:
        """Tells what happened."""
        self._line("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Tells what somebody should look at."""
        self._line("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Tells what failed."""
        self._line("error", event, fields)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes what the library says of renewals."""
        self._line(record.levelname.lower(), record.getMessage(), {})

    def _line(self, level: str, event: str, fields: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values = {"time": now, "level": level, "event": event, **fields}
        shown = {name: without_signatures(value) if isinstance(value, str) else value for name, value in values.items()}
        # Escaped beyond ASCII: nothing in it drives a terminal. A log that cannot be written ends no renewal.
        with suppress(OSError, ValueError):
            stream = self._stream or sys.stderr
            stream.write(json.dumps(shown) + "\n")
            stream.flush()


def without_signatures(text: str) -> str:
    """Returns a text in which no SAS token has its signature."""
    return _SIGNATURE.sub(r"\1...", text)
