"""What libraries and the event loop log goes through the same sieve."""

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from support.captured_log import captured_log
from support.leaks import ALL_AT_ONCE, PLANTED, VAULT_TOKEN, found_in


async def fails() -> None:
    raise RuntimeError(ALL_AT_ONCE)


def callback(_secret: str) -> None:
    raise RuntimeError(ALL_AT_ONCE)


async def forgotten() -> None:
    """Leaves a task whose exception nobody fetches, and a callback that fails."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(fails(), name="planted")
    loop.call_soon(callback, ALL_AT_ONCE)
    await asyncio.sleep(0.01)
    del task
    gc.collect()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_what_the_event_loop_reports(run: Callable[[Any], None]) -> None:
    """A task that nobody waited for is reported with type and place; asyncio alone would print the exception's text."""
    with captured_log() as log:
        run(forgotten())
    lines = [line for line in log.lines if line["logger"] == "asyncio"]
    assert {line["event"].split(" ")[0] for line in lines} == {"Task", "Exception"}
    for line in lines:
        assert line["error_type"] == "RuntimeError"
        assert any(frame.endswith((" fails", " callback")) for frame in line["frames"])
    assert found_in(log.text) == set()


def test_records_of_libraries() -> None:
    """A library's line loses what looks like a key, a header or a token, its exception's text, and all it debugs."""
    # One line out of the middle of a private key has no shape that it could be known by.
    keys = [secret for name, secret in PLANTED.items() if name.endswith("key") and name != "certificate key"]
    with captured_log("debug") as log:
        for logger in map(logging.getLogger, ("azure.core.pipeline", "urllib3.connectionpool", "hvac", "grpc")):
            logger.warning("GET /x?sv=1&sig=abc%%2Bdef authorization=Bearer %s token %s", keys[0], VAULT_TOKEN)
            logger.error("failed with %s", keys, exc_info=ValueError(ALL_AT_ONCE))
            logger.info("request body: %s", ALL_AT_ONCE)
            logger.debug("request body: %s", ALL_AT_ONCE)
    assert len(log.lines) == 8
    assert found_in(log.text) == set()
    assert "abc%2Bdef" not in log.text
