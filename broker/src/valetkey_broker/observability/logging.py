"""Sets structlog up: JSON for machines, console for people, request id on every line, secrets on none."""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from contextvars import ContextVar
from typing import Any, TextIO, cast

import structlog

from valetkey_broker.observability.log_output import Descriptor, Lines, QueuedLines
from valetkey_broker.observability.redaction import frames, redact, scrub

_REPR_BEGINS = re.compile(r"[\n(<]")
# What no blank, no `=` and no quote is in.
_BARE = re.compile(r"[A-Za-z0-9_.,:;/@#+*~$%?&\[\]()|!<>{}^-]+")
# One encoder for all lines; `redact` leaves nothing in an event that JSON does not know.
_encode = json.JSONEncoder().encode

request_id_var: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the call being served; empty outside of calls."""
trace_id_var: ContextVar[str] = ContextVar("trace_id", default="")
"""Id of the trace that the call being served belongs to, by its caller's word; empty where it said none."""


def configure_logging(
    log_format: str, level: str, stream: TextIO | None = None, *, queued: bool = False
) -> QueuedLines | None:
    """Configures structlog and routes the standard library's loggers of our dependencies through it.

    Lines go to `stream`, standard output if left out; `queued`, by a thread, which is returned and to be closed, unless
    the stream is no file.
    Third-party loggers speak from `warning` up: below that some of them print requests whole.
    """
    out = stream or sys.stdout
    number = logging.getLevelNamesMapping()[level.upper()]
    console = log_format == "console"
    renderer: Any = structlog.dev.ConsoleRenderer(colors=out.isatty()) if console else _json
    processors: list[Any] = [
        _add_request_id,
        redact,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([_quote] if console else []),
        renderer,
    ]

    def lost(lines: int) -> str:
        event: Any = {"event": "lines of the log are lost: they were not read in time", "lines": lines}
        for process in processors:
            event = process(None, "error", event)
        return f"{event}\n"

    descriptor = _descriptor(out) if queued else None
    queue = None if descriptor is None else QueuedLines(Lines(Descriptor(descriptor)), lost)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", queue or Lines(out))),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_ToStructlog()]
    root.setLevel(max(number, logging.WARNING))
    return queue


def _descriptor(out: TextIO) -> int | None:
    try:
        return out.fileno()
    except (AttributeError, OSError):  # Somebody's own, in memory say, which nobody has to read.
        return None


@contextlib.contextmanager
def logging_by_a_thread(log_format: str, level: str) -> Iterator[None]:
    """Configures logging to standard output for a process that serves: it does not wait until its lines are taken.

    At the end they are, if somebody reads them.
    """
    queued = configure_logging(log_format, level, queued=True)
    try:
        yield
    finally:
        if queued is not None:
            queued.close()


def _quote(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Puts into quotes, for people, what could be taken for another part of the line; JSON needs none of it."""
    for name, value in event.items():
        if not isinstance(value, str):
            continue
        if name == "event":
            event[name] = value if value.isprintable() and "=" not in value else repr(value)
        elif not _BARE.fullmatch(value):
            event[name] = _Quoted(value)
    return event


class _Quoted:
    """A text that structlog shows in quotes, and escaped, whatever its own rule is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)


def _json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    return _encode(event)


def _add_request_id(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if request_id := request_id_var.get():
        event["request_id"] = request_id
    if trace_id := trace_id_var.get():
        event["trace_id"] = trace_id
    return event


class _ToStructlog(logging.Handler):
    """Hands records of other libraries to structlog: message scrubbed, exception by type only."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[0]:
            fields["error_type"] = record.exc_info[0].__qualname__
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # Its author's mistake must neither fail the caller nor lose the line.
            message = str(record.msg)
        if record.name == "asyncio":  # Goes on with reprs of tasks and arguments, exception texts among them.
            message = _REPR_BEGINS.split(message, maxsplit=1)[0].rstrip()
            if record.exc_info and record.exc_info[1]:
                fields["frames"] = frames(record.exc_info[1])
        structlog.get_logger().log(record.levelno, scrub(message), **fields)
