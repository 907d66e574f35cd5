"""Has every rotation worked on by one process at a time: by the one that began it, or by whoever finds it left."""

import asyncio
import time
import uuid
from dataclasses import dataclass, field, replace

import structlog

from valetkey_broker.concurrency.backoff import Backoff, spread
from valetkey_broker.connectors.rotation_run import Run
from valetkey_broker.connectors.rotation_steps import Machine
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import Rotation, RotationState
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.rotation_store import LostRotation, RotationStore

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0


@dataclass(slots=True)
class _Seen:
    """A rotation in the hands of another as it last showed a sign of life, and when that was (monotonic)."""

    sign: tuple[str, str, int, int]
    since: float


@dataclass(slots=True)
class _Own:
    """A rotation that this process works on, or will again at `again_at` (monotonic)."""

    task: "asyncio.Task[None] | None" = None
    again_at: float = 0.0
    pauses: Backoff = field(default_factory=lambda: Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS))


class RotationRunner:
    """Claims and runs rotations. No clock is compared with another's: see docs/adr/0014-rotations.md."""

    def __init__(
        self,
        machine: Machine,
        memory: Memory,
        ledger: Ledger,
        clock: Clock,
        *,
        poll_seconds: float = 2.0,
        beat_seconds: float = 2.0,
        abandoned_seconds: float = 8.0,
    ) -> None:
        """A holder that shows no sign of life for `abandoned_seconds` is taken for dead."""
        self.holder = str(uuid.uuid4())
        self._machine = machine
        self._store: RotationStore = machine.store
        self._memory = memory
        self._ledger = ledger
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._beat_seconds = beat_seconds
        self._abandoned_seconds = abandoned_seconds
        self._own: dict[str, _Own] = {}  # by rotation id
        self._seen: dict[str, _Seen] = {}  # by path
        self._log = structlog.get_logger()

    def held(self, draft: Rotation) -> Rotation:
        """Returns a rotation that is to begin, in the hands of this process."""
        return replace(draft, holder=self.holder, fence=1)

    async def run(self) -> None:
        """Looks again and again for rotations that nobody works on, until cancelled."""
        try:
            while True:
                await asyncio.sleep(spread(self._poll_seconds))
                await self.look()
        finally:
            await self.close()

    async def look(self) -> None:
        """Takes up what is left to do. Never raises: what fails is tried again next time."""
        self._forget_ended()
        for path, known in list(self._memory.rotations.items()):
            if known.state.ended or self._busy(known):
                continue
            try:
                rotation = await self._store.read(path)
                if rotation is not None and not rotation.state.ended and self._is_free(rotation):
                    # Not its own that it tries again: what is held up for weeks must not fill the ledger.
                    anothers = rotation.holder not in ("", self.holder)
                    self.work(await self._claimed(rotation), anothers=anothers)
            except LostRotation:
                continue  # Another process was faster.
            except Exception as error:  # noqa: BLE001 (one rotation must not keep the others waiting)
                self._log.info("a rotation cannot be looked at now", path=path, why=_told(error))

    def work(self, rotation: Rotation, *, anothers: bool = False) -> None:
        """Begins to work on a rotation that this process holds; `anothers` says that another process did before."""
        own = self._own.setdefault(rotation.id, _Own())
        if own.task is None:
            work = self._work(rotation, own, anothers=anothers)
            own.task = asyncio.get_running_loop().create_task(work, name="rotation")

    async def close(self) -> None:
        """Leaves everything where it stands; others, or the next start, go on with it. Never raises."""
        tasks = [own.task for own in self._own.values() if own.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget_ended(self) -> None:
        # Another process may have brought to its end what this one was to try again.
        going_on = {known.id for known in self._memory.rotations.values() if not known.state.ended}
        for rotation_id, own in list(self._own.items()):
            if own.task is None and rotation_id not in going_on:
                del self._own[rotation_id]

    def _busy(self, rotation: Rotation) -> bool:
        own = self._own.get(rotation.id)
        return own is not None and (own.task is not None or time.monotonic() < own.again_at)

    def _is_free(self, rotation: Rotation) -> bool:
        if rotation.state is RotationState.WAITING and self._clock() < rotation.wait_until:
            return False
        if rotation.holder in ("", self.holder):
            return True
        sign, now = (rotation.id, rotation.holder, rotation.fence, rotation.beat), time.monotonic()
        seen = self._seen.get(rotation.path)
        if seen is None or seen.sign != sign:
            self._seen[rotation.path] = _Seen(sign, now)
            return self._abandoned_seconds <= 0
        return now - seen.since >= self._abandoned_seconds

    async def _claimed(self, rotation: Rotation) -> Rotation:
        if rotation.holder != self.holder:
            self._log.info(
                "going on with a rotation", path=rotation.path, state=rotation.state.value, fence=rotation.fence + 1
            )
        self._seen.pop(rotation.path, None)
        return await self._store.write(replace(rotation, holder=self.holder, fence=rotation.fence + 1, beat=0))

    async def _work(self, rotation: Rotation, own: _Own, *, anothers: bool) -> None:
        run = Run(rotation, self._store, self._ledger, self._clock)
        named = {"path": rotation.path, "rotation": rotation.id}
        try:
            if anothers:
                await run.record(rotation.state, what="resumed")
            async with run.beating(self._beat_seconds):
                await self._machine.run(run)
            if not run.rotation.state.ended:
                await run.write(holder="")  # It waits: whoever sees that the time has come goes on.
        except LostRotation:
            self._log.info("somebody else has the rotation now", **named)
        except BrokerError as error:
            self._log.warning(
                "a step of a rotation cannot be done now; it is tried again",
                state=run.rotation.state.value,
                reason=error.reason.name,
                error=error.message,
                **named,
            )
            own.again_at = time.monotonic() + max(own.pauses.next(), error.retry_after or 0.0)
        except Exception as error:  # noqa: BLE001 (a mistake of ours must not end it in silence)
            self._log.error("a step of a rotation failed; it is tried again", error_type=_told(error), **named)
            own.again_at = time.monotonic() + own.pauses.next()
        else:
            own.pauses.reset()
            self._told(run.rotation)
        finally:
            own.task = None
            if run.rotation.state.ended:
                self._own.pop(rotation.id, None)

    def _told(self, rotation: Rotation) -> None:
        say = self._log.warning if rotation.state is RotationState.FAILED else self._log.info
        say(
            "a rotation ended" if rotation.state.ended else "a rotation waits",
            path=rotation.path,
            rotation=rotation.id,
            state=rotation.state.value,
            reason=rotation.reason,
            why=rotation.message,
        )


def _told(error: Exception) -> str:
    return error.message if isinstance(error, BrokerError) else type(error).__qualname__
