"""Changes the `generation` entry, for all who want to at the same moment in one write."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from valetkey_broker.concurrency.backoff import Backoff
from valetkey_broker.errors import too_many_changes
from valetkey_broker.ports import CasMismatchError, StateStore
from valetkey_broker.state.generation_document import PATH, Generation, read_generation

T = TypeVar("T")
Edit = Callable[[Generation], tuple[Generation, T]]
"""Takes the generation as it is, and returns it as it is to be, with an answer; may be called again."""
_ATTEMPTS = 20


class GenerationWriter:
    """Writes by check-and-set, again as often as another process was faster."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._waiting: list[tuple[Edit[Any], asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def edit(self, edit: Edit[T]) -> T:
        """Makes `edit` and returns its answer once it is stored. Raises VAULT_UNAVAILABLE or CONFLICT.

        After an error nobody knows whether it was stored. Goes on where the caller hangs up.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((edit, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="state-journal")
        return await done

    async def read(self) -> Generation:
        """Returns the generation as it is now."""
        generation, _ = await read_generation(self._store)
        return generation

    async def announce(self, path: str) -> None:
        """Tells all replicas that `path` changed."""
        await self.edit(lambda generation: (generation.announcing(path), None))

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    answers = await self._write([edit for edit, _ in batch])
                except Exception as error:  # noqa: BLE001 (it is for those who wait)
                    for _, done in batch:
                        if not done.done():
                            done.set_exception(error)
                            done.exception()  # Seen, also where its caller has gone.
                else:
                    for (_, done), answer in zip(batch, answers, strict=True):
                        if not done.done():
                            done.set_result(answer)
        finally:
            self._writing = None

    async def _write(self, edits: list[Edit[Any]]) -> list[Any]:
        pauses = Backoff(0.005, 0.32, spread=1.0)
        for _ in range(_ATTEMPTS):
            before, version = await read_generation(self._store)
            after, answers = before, []
            for edit in edits:
                after, answer = edit(after)
                answers.append(answer)
            if after == before:
                return answers
            try:
                await self._store.write(PATH, after.document(), expected=version)
            except CasMismatchError:
                await asyncio.sleep(pauses.next())
            else:
                return answers
        raise too_many_changes(PATH)
