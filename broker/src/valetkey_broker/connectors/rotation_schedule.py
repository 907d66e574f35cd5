"""Rotations that are due: whatever replica sees it first begins them, and no other does."""

import asyncio
import uuid
from datetime import timedelta

import structlog

from valetkey_broker.concurrency.backoff import spread
from valetkey_broker.connectors.automatic_rotations import Automatic, AutomaticRotations
from valetkey_broker.connectors.rotation_run import Recorded
from valetkey_broker.errors import BrokerError, Reason, connector_not_found, use_secret_rotation
from valetkey_broker.model import (
    CallInfo,
    Connector,
    Event,
    EventKind,
    Evidence,
    InvalidFieldError,
    Principal,
    RotationSchedule,
    RotationState,
    check_name,
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
    """Sets how often a connector's credential is rotated, and begins what is due.

    Two replicas at once: a rotation is stored by check-and-set, so that one of them begins it.
    """

    def __init__(
        self,
        repository: StateRepository,
        memory: Memory,
        automatic: AutomaticRotations,
        clock: Clock,
        recorded: Recorded,
        poll_seconds: float = 20.0,
    ) -> None:
        self._repository = repository
        self._memory = memory
        self._automatic = automatic
        self._clock = clock
        self._recorded = recorded
        self._poll_seconds = poll_seconds
        self._not_before: dict[str, float] = {}  # by uid: what could not even begin
        self._log = structlog.get_logger()

    async def set(self, name: str, schedule: RotationSchedule | None) -> Connector:
        """Stores a schedule, or takes it away, and returns the connector.

        Raises InvalidFieldError, CONNECTOR_NOT_FOUND, or where its provider would not make a credential what
        `AutomaticRotations.rotate` raises.
        """
        check_name("name", name)
        await self._repository.refresh()
        connector = self._memory.connectors.get(name)
        if connector is None:
            raise connector_not_found(name)
        if connector.secret_uid:
            raise use_secret_rotation(name, connector.secret, f"rotate {connector.secret}")
        if schedule is not None:
            if not LEAST_SECONDS <= schedule.every_seconds <= MOST_SECONDS:
                raise InvalidFieldError("every", "is no time for that", "1 minute to 365 days")
            await self._automatic.checked(f"connectors/{name}", connector, schedule.by)
        return await self._repository.update_connector(connector.scheduled(schedule), None)

    async def run(self) -> None:
        """Looks again and again for what is due, until cancelled."""
        while True:
            await asyncio.sleep(spread(self._poll_seconds))
            await self.look()

    async def look(self) -> None:
        """Begins every rotation that is due. Never raises: what fails is tried again later."""
        for connector in list(self._memory.connectors.values()):
            if self._due(connector):
                try:
                    await self._begin(connector)
                except BrokerError as error:
                    self._failed(connector, error)
                except (InvalidFieldError, LookupError, TypeError, ValueError) as error:
                    self._log.error("a scheduled rotation failed", connector=connector.name, error=type(error).__name__)
                    self._not_before[connector.uid] = self._clock() + _MOST_RETRY_SECONDS

    async def _begin(self, connector: Connector) -> None:
        await self._repository.refresh()  # Another replica may have done it a moment ago.
        there = self._memory.connectors.get(connector.name)
        if there is None or not self._due(there) or there.rotation_schedule is None:
            return
        schedule = there.rotation_schedule
        wanted = Automatic(by=schedule.by, every_seconds=schedule.every_seconds)
        path, call = f"connectors/{there.name}", CallInfo(str(uuid.uuid4()), "", _SCHEDULE, "")
        begun = Event(
            kind=EventKind.CHANGE_BEGUN,
            time=self._clock(),
            request_id=call.request_id,
            principal=call.principal.name,
            object=rotation_path(path),
            details=details_of(auto="yes", by=schedule.by, every_seconds=str(schedule.every_seconds)),
        )
        await self._recorded(begun, lambda: self._automatic.rotate(path, wanted, call))

    def _due(self, connector: Connector) -> bool:
        schedule, now = connector.rotation_schedule, self._clock()
        if schedule is None or self._memory.rotation_of(f"connectors/{connector.name}", connector.uid):
            return False
        since = connector.origin.since if connector.origin is not None else connector.created_at
        if now < since.timestamp() + schedule.every_seconds or now < self._not_before.get(connector.uid, 0.0):
            return False
        last = self._memory.rotations.get(f"rotations/{connector.name}")
        if last is None or last.object_uid != connector.uid or last.state is RotationState.DONE:
            return True
        return now >= last.updated_at.timestamp() + _retry_seconds(schedule)

    def _failed(self, connector: Connector, error: BrokerError) -> None:
        if error.reason in (Reason.ROTATION_UNDER_WAY, Reason.CONFLICT):
            return  # Another replica was faster.
        schedule = connector.rotation_schedule
        wait = max(_retry_seconds(schedule) if schedule else 0.0, error.retry_after or 0.0)
        self._not_before[connector.uid] = self._clock() + wait
        self._log.error(
            "a scheduled rotation cannot begin; it is tried again later",
            connector=connector.name,
            reason=error.reason.name,
            error=error.message,
            again_in=str(timedelta(seconds=int(wait))),
        )


def _retry_seconds(schedule: RotationSchedule) -> float:
    return min(max(schedule.every_seconds / _RETRY_SHARE, _LEAST_RETRY_SECONDS), _MOST_RETRY_SECONDS)
