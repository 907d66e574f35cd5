"""The `generation` entry: a counter with a short journal of what changed, so that replicas poll one entry only."""

import asyncio
import random
from dataclasses import dataclass

from valetkey_broker.errors import too_many_changes
from valetkey_broker.ports import CasMismatchError, StateStore
from valetkey_broker.state.read_for_cas import read_for_cas

PATH = "generation"
JOURNAL_LENGTH = 64
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Generation:
    """The counter and the journal: (counter after the change, path that changed), oldest first."""

    counter: int
    journal: tuple[tuple[int, str], ...]

    def since(self, seen: int) -> set[str] | None:
        """Returns the paths changed after `seen`, or None where the journal does not reach back that far."""
        if self.counter < seen:
            return None  # The store was restored from a backup: only a full reading is right.
        changed = [(number, path) for number, path in self.journal if number > seen]
        return {path for _, path in changed} if len(changed) == self.counter - seen else None


async def read_generation(store: StateStore) -> tuple[Generation, int]:
    """Returns the generation and the version of its document (0 where nobody has written it yet)."""
    document, version = await read_for_cas(store, PATH)
    if document is None:
        return Generation(0, ()), version
    try:
        journal = tuple((int(number), str(path)) for number, path in document.data.get("journal", ()))
        return Generation(int(document.data["counter"]), journal), document.version
    except (KeyError, TypeError, ValueError):
        # Edited by hand. Counting anew mends it: a counter that went backwards makes every replica read everything.
        return Generation(0, ()), document.version


async def bump(store: StateStore, path: str) -> Generation:
    """Announces that `path` changed, by check-and-set, again as often as somebody else was faster."""
    for attempt in range(_ATTEMPTS):
        current, version = await read_generation(store)
        counter = current.counter + 1
        after = Generation(counter, (*current.journal, (counter, path))[-JOURNAL_LENGTH:])
        try:
            await store.write(PATH, {"counter": counter, "journal": [list(e) for e in after.journal]}, expected=version)
        except CasMismatchError:
            await asyncio.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 6)))  # noqa: S311 (jitter, no secret)
        else:
            return after
    raise too_many_changes(PATH)
