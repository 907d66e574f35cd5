"""Rotations that are due: whatever replica sees it first begins them, and no other does."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from valetkey_broker.concurrency.backoff import spread
from valetkey_broker.connectors.made_credential_rotations import Automatic, MadeCredentialRotations
from valetkey_broker.connectors.rotation_admin import Rotations
from valetkey_broker.connectors.rotation_run import Recorded
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import (
    CallInfo,
    Connector,
    Event,
    EventKind,
    Evidence,
    InvalidFieldError,
    NamedSecret,
    Principal,
    RotationSchedule,
    RotationState,
    details_of,
    rotation_path,
)
from valetkey_broker.ports import Clock
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

LEAST_SECONDS, MOST_SECONDS = 60, 365 * 86_400
# One that failed is tried again sooner than the schedule says, and not at once: its cause needs somebody.
_RETRY_SHARE, _LEAST_RETRY_SECONDS, _MOST_RETRY_SECONDS = 10, 60.0, 3600.0
_SCHEDULE = Principal("broker:schedule", frozenset(), Evidence.API_KEY, float("inf"))


class RotationSchedules:
    """Sets how often the credential of a connector, or of a named secret, is rotated, and begins what is due.

    Two replicas at once: a rotation is stored by check-and-set, so that one of them begins it.
    """

    def __init__(
        self,
        repository: StateRepository,
        memory: Memory,
        rotations: Rotations,
        automatic: MadeCredentialRotations,
        clock: Clock,
        recorded: Recorded,
        poll_seconds: float = 20.0,
    ) -> None:
        self._repository = repository
        self._memory = memory
        self._rotations = rotations
        self._automatic = automatic
        self._clock = clock
        self._recorded = recorded
        self._poll_seconds = poll_seconds
        self._not_before: dict[str, float] = {}  # by uid: what could not even begin
        self._log = structlog.get_logger()

    async def set(self, object_path: str, schedule: RotationSchedule | None) -> Connector | NamedSecret:
        """Stores a schedule of the object at `connectors/NAME` or `secrets/NAME`, or takes it away; returns the object.

        Raises InvalidFieldError, …_NOT_FOUND, or where its provider would not make a credential what
        `MadeCredentialRotations.rotate` raises.
        """
        there = await self._rotations.there(object_path)
        if schedule is not None:
            if not LEAST_SECONDS <= schedule.every_seconds <= MOST_SECONDS:
                raise InvalidFieldError("every", "is no time for that", "1 minute to 365 days")
            await self._automatic.checked(object_path, there, schedule.by)
        if isinstance(there, Connector):
            return await self._repository.update_connector(there.scheduled(schedule), None)
        return await self._repository.schedule_secret(there, schedule)

    def users(self, secret: NamedSecret) -> Sequence[str]:
        """Returns the names of the connectors that follow a secret, sorted."""
        return self._memory.named_secrets.users(secret.uid)

    async def run(self) -> None:
        """Looks again and again for what is due, until cancelled."""
        while True:
            await asyncio.sleep(spread(self._poll_seconds))
            await self.look()

    async def look(self) -> None:
        """Begins every rotation that is due. Never raises: what fails is tried again later."""
        now = self._clock()
        self._not_before = {uid: at for uid, at in self._not_before.items() if at > now}
        every: list[Connector | NamedSecret] = [*self._memory.connectors.values(), *self._memory.secrets.values()]
        for there in every:
            if self._due(there):
                try:
                    await self._begin(there)
                except BrokerError as error:
                    self._failed(there, error)
                except Exception as error:  # noqa: BLE001 (one that cannot be must not end all rotations)
                    self._log.error("a scheduled rotation failed", object=there.object_path, error=type(error).__name__)
                    self._not_before[there.uid] = self._clock() + _MOST_RETRY_SECONDS

    async def _begin(self, due: Connector | NamedSecret) -> None:
        await self._repository.refresh()  # Another replica may have done it a moment ago.
        known: Mapping[str, Connector | NamedSecret] = self._memory.connectors
        there = (known if isinstance(due, Connector) else self._memory.secrets).get(due.name)
        if there is None or not self._due(there) or there.rotation_schedule is None:
            return
        schedule = there.rotation_schedule
        wanted = Automatic(by=schedule.by, every_seconds=schedule.every_seconds)
        path, call = there.object_path, CallInfo(str(uuid.uuid4()), "", _SCHEDULE, "")
        begun = Event(
            kind=EventKind.CHANGE_BEGUN,
            time=self._clock(),
            request_id=call.request_id,
            principal=call.principal.name,
            object=rotation_path(path),
            details=details_of(auto="yes", by=schedule.by, every_seconds=str(schedule.every_seconds)),
        )
        await self._recorded(begun, lambda: self._automatic.rotate(path, wanted, call))

    def _due(self, there: Connector | NamedSecret) -> bool:
        schedule, now = there.rotation_schedule, self._clock()
        if schedule is None or self._memory.rotation_of(there.object_path, there.uid):
            return False
        if now < _since(there).timestamp() + schedule.every_seconds or now < self._not_before.get(there.uid, 0.0):
            return False
        last = self._memory.rotations.get(rotation_path(there.object_path))
        if last is None or last.object_uid != there.uid or last.state is RotationState.DONE:
            return True
        return now >= last.updated_at.timestamp() + _retry_seconds(schedule)

    def _failed(self, there: Connector | NamedSecret, error: BrokerError) -> None:
        if error.reason in (Reason.ROTATION_UNDER_WAY, Reason.CONFLICT):
            return  # Another replica was faster.
        schedule = there.rotation_schedule
        wait = max(_retry_seconds(schedule) if schedule else 0.0, error.retry_after or 0.0)
        self._not_before[there.uid] = self._clock() + wait
        self._log.error(
            "a scheduled rotation cannot begin; it is tried again later",
            object=there.object_path,
            reason=error.reason.name,
            error=error.message,
            again_in=str(timedelta(seconds=int(wait))),
        )


def _retry_seconds(schedule: RotationSchedule) -> float:
    return min(max(schedule.every_seconds / _RETRY_SHARE, _LEAST_RETRY_SECONDS), _MOST_RETRY_SECONDS)


def _since(there: Connector | NamedSecret) -> datetime:
    """Returns since when the credential is in use."""
    if isinstance(there, NamedSecret):
        return there.updated_at
    return there.origin.since if there.origin is not None else there.created_at
