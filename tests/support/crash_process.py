"""Processes that make changes in a real Vault, on record in a real ledger, and are killed; and replicas that watch.

A child makes the changes whose names it reads from standard input, one a line.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from support.core import Replica
from support.crashes import BY_NAME, Change, check_whole, knows
from support.warm import WarmCommand
from valetkey_broker.adapters.vault import VaultStateStore
from valetkey_broker.errors import BrokerError
from valetkey_broker.ledger import SqlLedger
from valetkey_broker.model import Event, EventFilter, EventKind, Rotation
from valetkey_broker.recording import Changes
from valetkey_broker.settings import LedgerSettings, VaultSettings
from valetkey_broker.state.generation_document import read_generation

_WARM = WarmCommand("support.crash_process:main", "valetkey_broker.*", "psycopg")
_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 120.0


class Process:
    """One broker process as far as changes go: its replica of the state, and its ledger."""

    def __init__(self, vault: VaultSettings, ledger: SqlLedger) -> None:
        self.ledger = ledger
        self.changes = Changes(self.ledger, time.time)
        self.store: Any = VaultStateStore(vault)
        self.replica = Replica(self.store, also_settled=self.changes.reconciled)

    async def open(self) -> None:
        """Logs in and reads everything; the ledger is open."""
        await self.store.open()
        await self.replica.repository.load()

    async def close(self) -> None:
        """Closes everything but the ledger."""
        await self.replica.repository.close()
        await self.store.close()

    async def make(self, change: Change, request_id: str) -> str:
        """Makes a change on record; returns what a caller would be told, "done" or the error's reason."""
        begun = Event(
            kind=EventKind.CHANGE_BEGUN, time=time.time(), request_id=request_id, method="crash", object=change.path
        )
        try:
            await self.changes.make(begun, partial(change.make, self.replica))
        except BrokerError as error:
            return error.reason.name
        return "done"


class Watcher(Process):
    """A replica that polls as a broker does, and holds memory against Vault.

    While it is `forbearing`, it takes nobody for dead: on a busy machine one who lives may show no sign of it in time.
    """

    forbearing = False
    _task: "asyncio.Task[None] | None" = None

    async def watch(self) -> None:
        """Begins to poll."""
        await self.open()
        self._task = asyncio.create_task(self._poll())

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 (jitter)
            if self.forbearing:
                await self.replica.repository.refresh()
            else:
                await self.replica.poll()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> float:
        """Returns the seconds until a condition holds; fails where the polling failed, or after a long while."""
        started = time.monotonic()
        while not await condition():
            assert self._task is not None
            if self._task.done():
                self._task.result()
            assert time.monotonic() - started < _PATIENCE_SECONDS, "not settled"
            await asyncio.sleep(0.05)
        return time.monotonic() - started

    async def settled(self) -> bool:
        """Tells whether no change is under way."""
        return not (await read_generation(self.store))[0].intents

    async def being_changed(self) -> set[str]:
        """Returns the paths of the changes under way."""
        return await self.replica.repository.being_changed()

    async def current(self) -> bool:
        """Tells whether memory is what a replica that starts now would read."""
        fresh = Replica(self.store)
        await fresh.repository.load()
        await fresh.repository.close()
        return (
            fresh.memory.connectors == self.replica.memory.connectors
            and fresh.memory.grants == self.replica.memory.grants
            and fresh.memory.secrets == self.replica.memory.secrets
            and fresh.memory.revocations == self.replica.memory.revocations
            and _unversioned(fresh.memory.rotations) == _unversioned(self.replica.memory.rotations)
            and {name: known.key for name, known in fresh.memory.keys_by_name.items()}
            == {name: known.key for name, known in self.replica.memory.keys_by_name.items()}
        )

    async def unfinished(self) -> list[str]:
        """Returns the objects of the changes without outcome in the ledger."""
        return [stored.event.object for stored in await self.ledger.events(EventFilter(unfinished=True))]

    async def close(self) -> None:
        """Ends the polling, then everything."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await super().close()


class Child:
    """A process of its own that is there to be killed."""

    def __init__(self, vault: VaultSettings, ledger_url: str, directory: Path) -> None:
        settings = directory / f"crash-{time.monotonic_ns()}.json"
        values = {"vault": vault.model_dump(mode="json", exclude_none=True), "ledger": ledger_url}
        settings.write_text(json.dumps(values))
        commands, self._commands = os.pipe()
        answers, told = os.pipe()
        self._answers = os.fdopen(answers, encoding="utf-8")
        try:
            self._process = _WARM.start(
                ["crash_process", settings], environment=os.environ, files=[commands, told, sys.__stderr__.fileno()]
            )
        finally:
            os.close(commands)
            os.close(told)

    async def ready(self) -> None:
        """Waits until it can make changes."""
        assert await self._line() == "ready"

    def begin(self, change: Change) -> None:
        """Has it make a change."""
        os.write(self._commands, f"{change.name}\n".encode())

    async def told(self) -> str:
        """Waits for the end of a change; returns what its caller was told."""
        return await self._line()

    def kill(self) -> None:
        """Kills it, as nothing that runs can prevent."""
        self._process.kill()
        self._process.wait()
        if not self._answers.closed:
            self._answers.close()
            os.close(self._commands)

    async def _line(self) -> str:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return (await asyncio.to_thread(self._answers.readline)).strip()


def _unversioned(rotations: Mapping[str, Rotation]) -> dict[str, Rotation]:
    """Returns rotations but for the versions of their documents: a change that did not come takes one, and no more."""
    return {path: replace(rotation, version=0) for path, rotation in rotations.items()}


async def check(watchers: list[Watcher], change: Change) -> float:
    """Waits until all is settled and known everywhere; holds Vault against what must be true. Returns the seconds."""
    seconds = 0.0
    while True:  # A request that was on its way at the kill may arrive after the first look.
        seconds += await watchers[0].until(watchers[0].settled)
        for watcher in watchers:
            seconds += await watcher.until(watcher.current)
        if await watchers[0].settled():
            break
    await check_whole(watchers[0].store)
    known = {knows(watcher.replica, change.path) for watcher in watchers}
    assert len(known) == 1, "two replicas know different things"
    return seconds


async def _serve(name: str, values: dict[str, Any]) -> None:
    ledger = SqlLedger(LedgerSettings(url=values["ledger"]))
    await ledger.open()
    process = Process(VaultSettings(**values["vault"]), ledger)
    await process.open()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    number = 0
    while asked := (await asyncio.to_thread(sys.stdin.readline)).strip():
        number += 1
        told = await process.make(BY_NAME[asked], f"{name}-{number}")
        sys.stdout.write(f"{told}\n")
        sys.stdout.flush()
    await process.close()
    await ledger.close()


def main() -> None:
    """Makes the changes whose names come from standard input."""
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    file = Path(sys.argv[1])
    asyncio.run(_serve(file.stem, json.loads(file.read_text())))
