"""Loops that keep something alive: an error that nobody thought of does not end them."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from support.ledgers import open_ledger
from valetkey_broker.connectors.rotation_run import Run
from valetkey_broker.ledger import SqlLedger
from valetkey_broker.state.intents_under_way import Intents

_PLANTED = "PLANTED-in-an-exception"


class Doing:
    """Fails the first time it is done, and says when it was done again; before that, `good` times go well."""

    def __init__(self, good: int = 0) -> None:
        self._good = good
        self._count = 0
        self.again = asyncio.Event()

    async def __call__(self, *_args: Any, **_named: Any) -> Any:
        self._count += 1
        if self._count == self._good + 1:
            raise RuntimeError(_PLANTED)
        if self._count > self._good:
            self.again.set()
        return True


async def _goes_on(doing: Doing, logs: list[Any]) -> None:
    async with asyncio.timeout(60):
        await doing.again.wait()
    (line,) = (line for line in logs if line["log_level"] == "error")
    assert line["frames"][0] == "builtins.RuntimeError"
    assert _PLANTED not in repr(logs)


async def test_a_change_goes_on_showing_that_it_is_worked_on() -> None:
    """Others would take it over otherwise, while it is still being made."""
    doing = Doing(good=1)
    intents = Intents(cast("Any", SimpleNamespace(edit=doing)), abandoned_seconds=0.01)
    with capture_logs() as logs:
        async with intents.opened(cast("Any", SimpleNamespace(id="change"))):
            await _goes_on(doing, cast("list[Any]", logs))


async def test_a_rotation_goes_on_showing_that_it_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others would take it over otherwise, while the provider makes a credential."""
    doing = Doing()
    anything = cast("Any", None)
    run = Run(anything, anything, anything, anything)
    monkeypatch.setattr(run, "write", doing)
    with capture_logs() as logs:
        async with run.beating(0.001):
            await _goes_on(doing, cast("list[Any]", logs))


async def test_the_ledger_goes_on_being_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records do not pile up for as long as the process serves."""
    doing = Doing()
    monkeypatch.setattr(SqlLedger, "prune", doing)
    monkeypatch.setattr("valetkey_broker.ledger.ledger._FIRST_PRUNING", 0.0)
    monkeypatch.setattr("valetkey_broker.concurrency.background_jobs._FIRST_PAUSE_SECONDS", 0.001)
    with capture_logs() as logs:
        async with open_ledger(f"sqlite:///{tmp_path}/ledger.db"):
            await _goes_on(doing, cast("list[Any]", logs))
