"""Logging as it is set up: JSON or console, with the request id, without secrets, for other libraries too."""

import errno
import io
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from valetkey_broker.model import Secret
from valetkey_broker.observability.logging import configure_logging, request_id_var

_PLANTED = "PLANTED"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Puts the process's logging back as it was: other tests share it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def _configured(log_format: str = "json", level: str = "info") -> io.StringIO:
    out = io.StringIO()
    configure_logging(log_format, level, out)
    return out


def _lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def _fail() -> None:
    raise ValueError(_PLANTED)


def test_json_lines() -> None:
    """Machines get one object a line: event, level, time in UTC, and the fields."""
    out = _configured()
    structlog.get_logger().info("token issued", connector="demo", count=2)
    (line,) = _lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "token issued", "level": "info", "connector": "demo", "count": 2}


class _Full(io.StringIO):
    """A file on a disk that is full as long as `full` says so."""

    full = True

    def __init__(self, *, buffers: bool) -> None:
        super().__init__()
        self._buffers = buffers

    def write(self, text: str) -> int:
        if self.full and not self._buffers:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)

    def flush(self) -> None:
        if self.full and self._buffers:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("buffers", [False, True])
def test_a_log_that_cannot_be_written_stops_nobody(capsys: pytest.CaptureFixture[str], *, buffers: bool) -> None:
    """A full disk costs the lines, told once, and neither the call nor the background work that wanted to say them."""
    out = _Full(buffers=buffers)
    configure_logging("json", "info", out)
    for number in range(3):
        structlog.get_logger().info("lost", number=number)
    logging.getLogger("library").warning("lost")
    assert capsys.readouterr().err == "Error: the log cannot be written: No space left on device\n"
    out.full = False
    structlog.get_logger().info("written")
    assert _lines(out)[-1]["event"] == "written"
    out.close()
    structlog.get_logger().info("lost")
    assert capsys.readouterr().err == "Error: the log cannot be written: ValueError\n"


def test_console_lines() -> None:
    """People get text, without colours where it is no terminal."""
    out = _configured("console")
    structlog.get_logger().warning("Vault is away", problem="sealed")
    assert "Vault is away" in out.getvalue()
    assert "problem=sealed" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_console_lines_cannot_be_forged() -> None:
    """What a caller wrote stands in quotes where it could pass for a field, a line or an order to the terminal."""
    out = _configured("console")
    values = ["x peer=10.9.9.9", "a\nb", "\x1b[2J", "\u202egnp", "\u2028", "\xa0", "", "\ud800"]
    for value in values:
        structlog.get_logger().info("call", purpose=value, connector="az-1", more=[value])
    logging.getLogger("some.library").warning("x peer=%s", "10.9.9.9\n\x1b[2J")
    lines = out.getvalue().split("\n")[:-1]
    assert all(line.isprintable() for line in lines)
    for line, value in zip(lines, values, strict=False):
        assert f"connector=az-1 more={[value]!r} purpose={value!r}" in line
    assert r"'x peer=10.9.9.9\n\x1b[2J'" in lines[-1]
    assert len(lines) == len(values) + 1


def test_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Containers log to standard output."""
    configure_logging("json", "info")
    structlog.get_logger().info("hello")
    assert json.loads(capsys.readouterr().out)["event"] == "hello"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_format_shows_secrets(log_format: str) -> None:
    """The redacting processor stands before both renderers, exceptions and their locals included."""
    out = _configured(log_format, "debug")
    log = structlog.get_logger()
    secret_local = Secret(_PLANTED)
    try:
        _fail()
    except ValueError as error:
        log.exception("failed", error=error)
        log.warning("failed", exc_info=error, details={"client_secret": _PLANTED})
    log.debug("raw sig=PLANTED", secret=secret_local, client_secret=_PLANTED, body=_PLANTED.encode())
    assert len(out.getvalue().splitlines()) == 3
    assert _PLANTED not in out.getvalue()
    assert "ValueError" in out.getvalue()


def test_the_request_id_is_on_every_line_of_a_call_and_on_no_other() -> None:
    """A caller's error report finds its lines."""
    out = _configured()
    token = request_id_var.set("req-1")
    structlog.get_logger().info("inside")
    logging.getLogger("some.library").warning("inside too")
    request_id_var.reset(token)
    structlog.get_logger().info("outside")
    assert [line.get("request_id") for line in _lines(out)] == ["req-1", "req-1", None]


@pytest.mark.parametrize(("level", "events"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1), ("ERROR", 1)])
def test_levels(level: str, events: int) -> None:
    """What is below the configured level is not written."""
    out = _configured(level=level)
    log = structlog.get_logger()
    for method in (log.debug, log.info, log.warning, log.error):
        method("line")
    assert len(_lines(out)) == events


def test_other_libraries_are_scrubbed() -> None:
    """Whatever a dependency prints goes through the same redaction, with its name, as one of our lines."""
    out = _configured()
    logging.getLogger("azure.core").warning("GET https://a/c?sig=%s", _PLANTED)
    logging.getLogger("hvac").error("token %s", "hvs." + _PLANTED * 4)
    lines = _lines(out)
    assert [(line["logger"], line["level"]) for line in lines] == [("azure.core", "warning"), ("hvac", "error")]
    assert _PLANTED not in out.getvalue()


@pytest.mark.parametrize("level", ["debug", "info", "warning"])
def test_other_libraries_speak_from_warning_up(level: str) -> None:
    """Below that, some print whole requests; the broker's own debug level does not open them."""
    out = _configured(level=level)
    logging.getLogger("azure.core").info("request headers: …")
    logging.getLogger("azure.core").debug("request headers: …")
    logging.getLogger("azure.core").warning("slow")
    assert [line["event"] for line in _lines(out)] == ["slow"]


def test_other_libraries_exceptions_show_their_type() -> None:
    """Their text may hold anything."""
    out = _configured()
    try:
        _fail()
    except ValueError:
        logging.getLogger("some.library").exception("failed")
    (line,) = _lines(out)
    assert (line["event"], line["error_type"]) == ("failed", "ValueError")
    assert _PLANTED not in out.getvalue()


def test_lost_exceptions_of_asyncio_do_not_show_their_text() -> None:
    """Asyncio prints the task with its exception's text; here it tells type and place."""
    out = _configured()
    try:
        _fail()
    except ValueError as error:
        logging.getLogger("asyncio").log(
            logging.ERROR,
            "Task exception was never retrieved\nfuture: <Task finished exception=%r>",
            error,
            exc_info=error,
        )
    (line,) = _lines(out)
    assert line["event"] == "Task exception was never retrieved"
    assert line["error_type"] == "ValueError"
    assert line["frames"][0] == "builtins.ValueError"
    assert _PLANTED not in out.getvalue()


def test_asyncio_without_an_exception_says_what_it_has_to_say() -> None:
    """A message without an exception has no frames, and its reprs stay out."""
    out = _configured()
    logging.getLogger("asyncio").warning("Executing <Task %s> took 0.2 seconds", _PLANTED)
    (line,) = _lines(out)
    assert line["event"] == "Executing"
    assert "frames" not in line


@pytest.mark.parametrize("arguments", [(_PLANTED,), (1, 2)])
def test_a_librarys_own_mistake_fails_nobody(arguments: tuple[object, ...]) -> None:
    """A log call whose arguments do not fit must not become an exception in the middle of a request."""
    out = _configured()
    logging.getLogger("some.library").warning("%d things", *arguments)
    (line,) = _lines(out)
    assert line["event"] == "%d things"


def test_configuring_twice_does_not_double_lines() -> None:
    """A worker that is started again, or a test, gets one handler."""
    _configured()
    out = _configured()
    logging.getLogger("some.library").warning("once")
    assert len(_lines(out)) == 1
