"""What issuing shared before `single_flight.py`: a task that many wait for, and the "later" that Azure asked for."""

import asyncio
from dataclasses import dataclass
from typing import TypeVar

from valetkey_broker.errors import BrokerError, Reason, connector_changed
from valetkey_broker.model import Connector

T = TypeVar("T")


async def share(task: asyncio.Task[T], connector: Connector) -> T:
    """Waits for a task that others wait for too: a caller who hangs up does not take it along.

    Raises CONFLICT where the task was ended because the connector went away; to the caller that must not look as if
    their own call had been cancelled.
    """
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        caller = asyncio.current_task()
        if not task.cancelled() or (caller is not None and caller.cancelling()):
            raise
        raise connector_changed(connector.name) from None


@dataclass(slots=True)
class Later:
    """Azure's own "later": until then nobody asks again. Times are Unix seconds."""

    error: BrokerError | None = None
    until: float = 0.0

    def heard(self, error: BaseException, now: float) -> None:
        """Notes a failure, if it is one that says when to come back."""
        if isinstance(error, BrokerError) and error.reason is Reason.CLOUD_THROTTLED:
            self.error = error
            self.until = now + (error.retry_after or 1.0)

    def check(self, now: float) -> None:
        """Raises that failure again while its time is not over, with the seconds that are left."""
        if self.error is not None and now < self.until:
            raise self.error.again_in(self.until - now)
