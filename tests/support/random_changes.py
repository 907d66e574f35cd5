"""What `make delays` ends with: two replicas make random changes of the same objects, and all must be whole after it.

Their store is late at random, and at times loses a request, or the answer to one. A trial fails where a change stays
under way, an object is half changed, a replica knows something else than Vault, or an error is none of the broker's.
"""

import argparse
import asyncio
import contextlib
import logging
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from support.core import Replica
from support.crashes import BY_NAME, check_whole
from support.fake_store import FakeStateStore
from support.random_delays import Delays
from valetkey_broker.adapters.vault.errors import unavailable
from valetkey_broker.errors import BrokerError
from valetkey_broker.state.generation_document import read_generation

# Changes of objects that have to do with each other: one trial has those of one line, and begins with the first one.
_TOGETHER = (
    ("create-grant", "update-grant", "delete-grant"),
    ("admit-key", "rotate-key", "revoke-key"),
    ("revoke", "revoke-keys", "lift-revocation"),
    ("register", "update", "describe", "drop-keys", "begin-rotation", "unregister"),
    ("create-secret", "update-secret", "schedule-secret", "rename-secret", "delete-secret"),
    ("create-secret", "rename-secret", "delete-secret", "register-with-secret", "unregister"),
)
_REPLICAS, _AT_ONCE = 2, 30
_ABANDONED_SECONDS, _PATIENCE_SECONDS = 0.1, 60.0


class UnreliableStore(FakeStateStore):
    """The shared store as one replica reaches it, until it is `reliable`."""

    def __init__(self, shared: FakeStateStore, delays: Delays, chance: random.Random, lost: float) -> None:
        super().__init__()
        self._versions = shared._versions
        self._delays, self._chance, self._lost = delays, chance, lost
        self.reliable = False

    async def write(self, path: str, data: Mapping[str, Any], *, expected: int) -> int:
        self._may_be_lost("writing")
        written = await super().write(path, data, expected=expected)
        self._may_be_lost("writing")
        await self._delays.pause()
        return written

    async def destroy(self, path: str, versions: Sequence[int]) -> None:
        self._may_be_lost("destroying")
        await super().destroy(path, versions)
        self._may_be_lost("destroying")
        await self._delays.pause()

    async def _enter(self, method: str, path: str | None = None) -> None:
        await self._delays.pause()
        await super()._enter(method, path)

    def _may_be_lost(self, doing: str) -> None:
        if not self.reliable and self._chance.random() < self._lost:
            raise unavailable("unreachable", doing, "its connection broke off")


class Trial:
    """Some callers who make changes by any of the replicas; `told` is what became of each."""

    def __init__(self, seed: int) -> None:
        self.told: list[str] = []
        self._chance = random.Random(seed)  # noqa: S311 (guards nothing)
        self._shared = FakeStateStore()
        delays = Delays()
        delays.begin(str(seed))
        lost = self._chance.choice([0.0, 0.02, 0.06])
        self._stores = [UnreliableStore(self._shared, delays, self._chance, lost) for _ in range(_REPLICAS)]
        self._replicas = [Replica(store, abandoned_seconds=_ABANDONED_SECONDS) for store in self._stores]
        self._names = self._chance.choice(_TOGETHER)

    async def run(self) -> None:
        """Raises what is wrong."""
        for replica in self._replicas:
            await replica.repository.load()
        polling = [asyncio.create_task(self._poll(replica)) for replica in self._replicas]
        try:
            with contextlib.suppress(BrokerError):
                await BY_NAME[self._names[0]].make(self._replicas[0])
            await asyncio.gather(*(self._call() for _ in range(self._chance.randrange(2, 7))))
            for store in self._stores:
                store.reliable = True
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while await self._under_way():  # noqa: ASYNC110 (it ends in a store)
                    await asyncio.sleep(0.02)
        finally:
            for task in polling:
                task.cancel()
            await asyncio.gather(*polling, return_exceptions=True)
            for replica in self._replicas:
                await replica.repository.close()
        assert not await self._under_way(), "a change is under way once more"
        await check_whole(self._shared)
        late = Replica(self._shared)
        await late.repository.load()
        for replica in self._replicas:
            await replica.repository.refresh()
            assert _known(replica) == _known(late), "a replica knows something else than Vault"

    async def _poll(self, replica: Replica) -> None:
        while True:
            await asyncio.sleep(self._chance.random() * _ABANDONED_SECONDS / 5)
            with contextlib.suppress(BrokerError):
                await replica.poll()

    async def _call(self) -> None:
        for _ in range(self._chance.randrange(2, 6)):
            name, replica = self._chance.choice(self._names), self._chance.choice(self._replicas)
            told = "done"
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await BY_NAME[name].make(replica)
            except BrokerError as error:
                told = error.reason.name
            self.told.append(f"{name}: {told}")

    async def _under_way(self) -> bool:
        return bool((await read_generation(self._shared))[0].intents)


def _known(replica: Replica) -> Sequence[object]:
    memory = replica.memory
    return (memory.connectors, memory.grants, memory.revocations, memory.keys_by_name, memory.secrets, memory.rotations)


async def _run(seeds: Sequence[int]) -> int:
    told: Counter[str] = Counter()
    failed = 0
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def run(seed: int) -> None:
        nonlocal failed
        trial = Trial(seed)
        async with at_once:
            try:
                await trial.run()
            except Exception as error:  # noqa: BLE001 (whatever is wrong)
                failed += 1
                sys.stdout.write(f"seed {seed}: {type(error).__name__}: {error}\n  {', '.join(trial.told)}\n")
        told.update(trial.told)

    await asyncio.gather(*map(run, seeds))
    done = sum(number for outcome, number in told.items() if outcome.endswith(": done"))
    sys.stdout.write(f"{len(seeds)} trials, {told.total()} changes, {done} of them made; {failed} trials failed\n")
    return int(failed > 0)


def main() -> None:
    """Runs it; `--help` lists the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500, help="how many there are of each seed")
    parser.add_argument("--seeds", default="1-2", help="each of these seeds makes other trials: 7, or 1-3")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    first, _, last = arguments.seeds.partition("-")
    each = range(int(first), int(last or first) + 1)
    sys.exit(asyncio.run(_run([seed * 1_000_000 + trial for seed in each for trial in range(arguments.trials)])))


if __name__ == "__main__":
    main()
