"""The changes under way, this process's own and those of others: one at a time for each path."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from valetkey_broker.concurrency.backoff import Backoff
from valetkey_broker.errors import BrokerError, being_changed
from valetkey_broker.observability.redaction import frames
from valetkey_broker.state.change_kinds import KINDS
from valetkey_broker.state.generation_document import Generation
from valetkey_broker.state.generation_document_writer import Edit, GenerationWriter
from valetkey_broker.state.intent import FORM, Intent, decode_intent

_BEATS_WITHIN = 4
_WAITING_SECONDS = 10.0


@dataclass(slots=True)
class _Seen:
    """An intent of another process as it was when it last showed a sign of life, and when that was (monotonic)."""

    intent: Intent
    since: float


class Intents:
    """Opens and closes intents, and tells which of them were left behind.

    No clock is compared with another's: an intent is abandoned when this process has not seen its holder's `beat` move
    for `abandoned_seconds`. A holder that is only slow may be taken for dead; then both bring the change to the same
    end.
    """

    def __init__(self, journal: GenerationWriter, abandoned_seconds: float) -> None:
        self.holder = str(uuid.uuid4())
        self._journal = journal
        self._abandoned_seconds = abandoned_seconds
        self._own: set[str] = set()  # Those that a task of this process works on right now.
        self._seen: dict[str, _Seen] = {}
        self._odd: set[str] = set()
        self._log = structlog.get_logger()

    def observe(self, generation: Generation) -> None:
        """Takes note of what is under way."""
        now = time.monotonic()
        seen: dict[str, _Seen] = {}
        for key, raw in generation.intents.items():
            intent = self._known(key, raw)
            if intent is None:
                continue
            before = self._seen.get(key)
            same = before is not None and (before.intent.holder, before.intent.beat) == (intent.holder, intent.beat)
            seen[key] = before if before is not None and same else _Seen(intent, now)
        self._seen = seen

    def abandoned(self) -> Sequence[Intent]:
        """Returns the intents that nobody works on any more, as they were last seen."""
        now = time.monotonic()
        return [
            each.intent
            for key, each in self._seen.items()
            if key not in self._own
            and (each.intent.holder == self.holder or now - each.since >= self._abandoned_seconds)
        ]

    @contextlib.asynccontextmanager
    async def opened(self, intent: Intent) -> AsyncIterator[bool]:
        """Opens an intent, and shows that this process works on it; gives False where another is open for a path of
        its.

        Does not close it: what is not closed when the context ends is abandoned.
        """
        async with self._working(
            intent, lambda generation: self._open(generation, intent.held_by(self.holder))
        ) as opened:
            yield opened

    async def wait_for(self, paths: Sequence[str], settle: Callable[[Intent], Awaitable[bool]]) -> None:
        """Returns once no intent is open for any of `paths`; abandoned ones are handed to `settle`. Raises CONFLICT."""
        deadline = time.monotonic() + _WAITING_SECONDS
        pauses = Backoff(0.01, 0.2)
        while True:
            generation = await self._journal.read()
            busy = generation.being_changed().intersection(paths)
            if not busy:
                return
            self.observe(generation)
            left = [intent for intent in self.abandoned() if busy.intersection(intent.paths)]
            if left and await settle(left[0]):
                continue
            if time.monotonic() > deadline:
                raise being_changed(min(busy))
            await asyncio.sleep(pauses.next())

    @contextlib.asynccontextmanager
    async def claimed(self, intent: Intent) -> AsyncIterator[bool]:
        """Takes over an abandoned intent; gives False where another process was faster, or its holder came back."""
        async with self._working(intent, lambda generation: self._claim(generation, intent)) as claimed:
            yield claimed

    async def close(self, intent: Intent) -> None:
        """Closes an intent and announces its paths, in one write."""
        await self._journal.edit(lambda now: (now.closing(intent.id).announcing(*intent.paths), None))
        self._seen.pop(intent.id, None)

    def _claim(self, generation: Generation, intent: Intent) -> tuple[Generation, bool]:
        now = self._known(intent.id, generation.intents.get(intent.id, {}))
        if now is None or (now.holder, now.beat) != (intent.holder, intent.beat):
            return generation, False
        return generation.opening(now.held_by(self.holder)), True

    def _open(self, generation: Generation, intent: Intent) -> tuple[Generation, bool]:
        if not generation.closing(intent.id).being_changed().isdisjoint(intent.paths):
            return generation, False
        return generation.opening(intent), True

    @contextlib.asynccontextmanager
    async def _working(self, intent: Intent, edit: Edit[bool]) -> AsyncIterator[bool]:
        """Makes `edit`; where it answers True, shows while the context lasts that this process works on the intent."""
        self._own.add(intent.id)
        try:
            if await self._journal.edit(edit):
                async with self._beating(intent.id):
                    yield True
            else:
                yield False
        finally:
            self._own.discard(intent.id)

    @contextlib.asynccontextmanager
    async def _beating(self, intent_id: str) -> AsyncIterator[None]:
        beating = asyncio.create_task(self._beat(intent_id), name="intent-beat")
        try:
            yield
        finally:
            beating.cancel()

    async def _beat(self, intent_id: str) -> None:
        def edit(generation: Generation) -> tuple[Generation, None]:
            now = self._known(intent_id, generation.intents.get(intent_id, {}))
            if now is None or now.holder != self.holder:
                return generation, None
            return generation.opening(now.beating()), None

        while True:
            await asyncio.sleep(self._abandoned_seconds / _BEATS_WITHIN)
            try:
                await self._journal.edit(edit)
            except BrokerError:
                continue  # Vault is away: nobody else can take it over either.
            except Exception as error:  # noqa: BLE001 (without beats, others would take this process for dead)
                self._log.error("showing that a change goes on failed; it is tried again", frames=frames(error))

    def _known(self, key: str, raw: object) -> Intent | None:
        """Returns an intent that this version understands; others are left alone, and named once."""
        if not isinstance(raw, dict) or not raw:
            return None
        form, kind = raw.get("form"), raw.get("kind")
        try:
            if form == FORM and kind in KINDS:
                return decode_intent(raw)
        except (KeyError, TypeError, ValueError):
            form = "malformed"
        if key not in self._odd:
            self._odd.add(key)
            self._log.error(
                "a change was left unfinished that this version of the broker does not understand; it is left alone, "
                "and its object cannot be changed until a broker of the newer version runs",
                path=str(raw.get("path")),
                kind=str(kind),
                form=str(form),
            )
        return None
