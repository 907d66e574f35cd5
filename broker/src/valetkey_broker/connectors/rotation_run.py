"""One rotation in the hands of this process: writes its document, shows that it lives, and records its steps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from valetkey_broker.errors import BrokerError
from valetkey_broker.model import CredentialValue, Event, EventKind, Rotation, RotationState, cut, details_of
from valetkey_broker.observability.redaction import frames
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.state.rotation_store import LostRotation, RotationStore

Recorded = Callable[[Event, Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Makes a change such that it is on record before and after: `recording.Changes.make`."""


class Run:
    """What a step sees of its rotation. Every method raises LostRotation where somebody else has it by now."""

    def __init__(self, rotation: Rotation, store: RotationStore, ledger: Ledger, clock: Clock) -> None:
        self.rotation = rotation
        self.clock = clock
        self._store = store
        self._ledger = ledger
        self._writing = asyncio.Lock()

    @property
    def fence(self) -> int:
        """The fencing number: greater than that of everybody who held the rotation before."""
        return self.rotation.fence

    async def write(self, **changes: Any) -> None:
        """Persists changes of the rotation. Raises VAULT_UNAVAILABLE too: then nobody knows."""
        async with self._writing:
            now = datetime.fromtimestamp(self.clock(), UTC)
            changed = replace(self.rotation, **changes, beat=self.rotation.beat + 1, updated_at=now)
            self.rotation = await self._store.write(changed)

    async def note(self, **facts: str) -> None:
        """Persists facts of the source's own, none of them secret: before a call to the provider, and after it."""
        await self.write(notes={**self.rotation.notes, **facts})

    async def enter(self, state: RotationState, *, error: BrokerError | None = None, **changes: Any) -> None:
        """Goes on to another state, on record first. `error` says why it is taken back."""
        if error is not None:
            changes = {"reason": error.reason.name, "message": cut(error.message), **changes}
        await self.record(state, changes.get("reason", ""), to_version=int(changes.get("to_version", 0)))
        await self.write(state=state, **changes)

    async def record(self, state: RotationState, reason: str = "", *, to_version: int = 0, what: str = "") -> None:
        """Puts a step on record. Raises LEDGER_UNAVAILABLE: what is not on record is not done."""
        rotation = self.rotation
        await self._ledger.record(
            Event(
                kind=EventKind.ROTATION,
                time=self.clock(),
                request_id=rotation.request_id,
                method=rotation.method,
                principal=rotation.started_by,
                object=rotation.path,
                connector="" if rotation.object.startswith("secrets/") else rotation.name,
                credential_version=to_version or rotation.to_version or rotation.from_version,
                reason=reason,
                details=details_of(
                    rotation=rotation.id,
                    state=state.value,
                    source=rotation.source,
                    fence=str(rotation.fence),
                    what=what,
                ),
            )
        )

    @contextlib.asynccontextmanager
    async def beating(self, seconds: float) -> AsyncIterator[None]:
        """Shows every so many `seconds` that this process works on it, while the context lasts.

        Cancels the task that entered it as soon as somebody else has the rotation.
        """
        owner = asyncio.current_task()
        task = asyncio.create_task(self._beat(seconds, owner), name="rotation-beat")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _beat(self, seconds: float, owner: "asyncio.Task[Any] | None") -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.write()
            except BrokerError:
                continue  # Vault is away: nobody else can take it either.
            except LostRotation:
                if owner is not None:
                    owner.cancel()
                return
            except Exception as error:  # noqa: BLE001 (without beats, others would take this process for dead)
                structlog.get_logger().error(
                    "showing that a rotation goes on failed; it is tried again", frames=frames(error)
                )


def switch_begun(rotation: Rotation, object_path: str, now: float) -> Event:
    """Returns the record of a change that a rotation makes: of the connector, or the secret, at `object_path`.

    Who goes on with a rotation may begin the same change once more, and each has to have an outcome: so each holder
    adds its fencing number to the id of the call.
    """
    return Event(
        kind=EventKind.CHANGE_BEGUN,
        time=now,
        request_id=f"{rotation.request_id}.{rotation.fence}" if rotation.fence > 1 else rotation.request_id,
        method=rotation.method,
        principal=rotation.started_by,
        object=object_path,
        details={"rotation": rotation.id, "auth_method": rotation.way.auth_method},
    )


class CredentialSource(Protocol):
    """Where a new credential comes from. Every method may run twice: what it did not note down, it has to look for.

    A BrokerError that passes leaves the state as it is, and the step is tried again.
    """

    @property
    def withdraws(self) -> bool:
        """Whether the old credential is removed at its provider once the new one is in use."""
        ...

    async def obtain(self, run: Run) -> CredentialValue:
        """Has the provider make a credential, and returns it; it is stored at once."""
        ...

    async def wait_until(self, run: Run) -> float:
        """Returns until when the old one must stay good, in Unix seconds; 0 for no longer."""
        ...

    async def withdraw(self, run: Run) -> None:
        """Removes the old credential at its provider."""
        ...

    async def undo(self, run: Run) -> None:
        """Removes at the provider what `obtain` had made there."""
        ...


class GivenSource:
    """An operator gave the credential: at the provider nothing is done, and nothing taken back."""

    withdraws = False

    async def obtain(self, run: Run) -> CredentialValue:
        """Is never asked: the credential was given when the rotation began."""
        raise NotImplementedError

    async def wait_until(self, run: Run) -> float:
        """Returns 0."""
        _ = run
        return 0.0

    async def withdraw(self, run: Run) -> None:
        """Does nothing."""

    async def undo(self, run: Run) -> None:
        """Does nothing."""
