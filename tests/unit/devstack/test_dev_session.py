"""`valetkey-broker dev` that is stopped, or fails, while it comes up."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, cast

import pytest

from valetkey_broker.errors import ConfigurationError
from valetkey_devstack import console_process
from valetkey_devstack.dev_session import run_dev
from valetkey_devstack.stack import DevStack


class FallingStack:
    """A stack that does not come up; with `interrupted`, because Ctrl-C reached one of its parts as well."""

    def __init__(self, directory: Path, *, interrupted: bool) -> None:
        self.directory = directory
        self._interrupted = interrupted

    async def __aenter__(self) -> None:
        if self._interrupted:
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                raise ConfigurationError("Azurite ended") from None
        raise ConfigurationError("Azurite does not come up")

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError("what has not come up is not taken down")


@pytest.fixture(autouse=True)
def _handlers() -> Any:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_ctrl_c_that_hits_a_part_too_is_no_failure(tmp_path: Path) -> None:
    """A terminal's Ctrl-C goes to every process of the group; a part that falls over by it is not blamed."""
    stack = cast("DevStack", FallingStack(tmp_path, interrupted=True))
    assert await run_dev(stack, workers=1) == 0


async def test_a_console_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told before anything starts, with what to install."""
    monkeypatch.setattr(console_process, "find_spec", lambda _name: None)
    stack = cast("DevStack", FallingStack(tmp_path, interrupted=False))
    with pytest.raises(ConfigurationError, match="pip install valetkey-console"):
        await run_dev(stack, workers=1, with_console=True)


async def test_a_part_that_fails_by_itself_is_told(tmp_path: Path) -> None:
    """Without a Ctrl-C the same end is an error that names the part."""
    stack = cast("DevStack", FallingStack(tmp_path, interrupted=False))
    with pytest.raises(ConfigurationError, match="does not come up"):
        await run_dev(stack, workers=1)
