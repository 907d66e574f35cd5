"""Records of tokens, which take a shorter way than other lines."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from broker.observability.logging import configure_logging, request_id_var, write_record

FIELDS: dict[str, str | int] = {"connector": 'a "quoted" name\n', "expires": 1_750_000_000}


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Puts the process's logging back as it was: other tests share it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def _lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_record_looks_like_any_other_line() -> None:
    """Whoever reads the log need not know that records are written another way."""
    out = io.StringIO()
    configure_logging("json", "info", out)
    token = request_id_var.set("req-1")
    write_record("token issued", FIELDS)
    structlog.get_logger().info("token issued", **FIELDS)
    request_id_var.reset(token)
    record, line = _lines(out)
    times = record.pop("timestamp"), line.pop("timestamp")
    assert record == line
    assert len(times[0]) == len("2026-01-01T00:00:00.000000Z")
    assert times[0] <= times[1]


def test_outside_of_a_call_there_is_no_request_id() -> None:
    """An empty id is left out, as on all lines."""
    out = io.StringIO()
    configure_logging("json", "info", out)
    write_record("token issued", FIELDS)
    assert "request_id" not in _lines(out)[0]


def test_a_key_sent_as_request_id_is_not_shown() -> None:
    """The request id is the caller's word, and callers paste keys into the wrong header."""
    out = io.StringIO()
    configure_logging("json", "info", out)
    token = request_id_var.set("vk_" + "PLANTED" * 5)
    write_record("token issued", FIELDS)
    request_id_var.reset(token)
    assert "PLANTED" not in out.getvalue()
    assert _lines(out)[0]["request_id"] == "***"


def test_people_get_the_record_as_text() -> None:
    """The console format holds for records too."""
    out = io.StringIO()
    configure_logging("console", "info", out)
    write_record("token issued", {"connector": "demo"})
    assert "token issued" in out.getvalue()
    assert "connector=demo" in out.getvalue()


def test_the_level_holds_for_records() -> None:
    """A record is a line of level info."""
    out = io.StringIO()
    configure_logging("json", "warning", out)
    write_record("token issued", FIELDS)
    assert not out.getvalue()
