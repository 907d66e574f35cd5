"""What many connectors reach, as far as it comes in time: one by one the cloud may take longer than a caller waits."""

import asyncio
from collections.abc import Sequence

from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.concurrency.gather_outcomes import work_off
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.connectors.reach_result import AccountError, Reach, own_container
from valetkey_broker.errors import BrokerError, connector_not_looked_at
from valetkey_broker.model import Connector


async def reach_in_time(
    cache: ReachCache, connectors: Sequence[Connector], seconds: float | None, *, anew: bool = False
) -> list[tuple[Connector, Reach | BrokerError]]:
    """Returns what each connector reaches, or the error that says why nobody can tell, in order.

    After `seconds`, if any are given, the others answer with what was found earlier, and an error that says so. Those
    that were not asked for longest come first: each listing gets to others than the one before. What was asked goes on,
    and is remembered.
    """
    loop = asyncio.get_running_loop()
    found: dict[int, Reach | BrokerError] = {}

    async def ask(place: int) -> None:
        cache.knowledge(connectors[place]).asked_at = loop.time()
        try:
            found[place] = await cache.reach(connectors[place], anew=anew)
        except BrokerError as error:
            found[place] = error

    waiting = sorted(range(len(connectors)), key=lambda place: cache.knowledge(connectors[place]).asked_at)
    try:
        async with asyncio.timeout(seconds) as patience:
            await work_off(waiting, ask)
    except TimeoutError:
        if not patience.expired():
            raise
    alone = len(connectors) == 1
    reached: list[tuple[Connector, Reach | BrokerError]] = []
    async for some in slices(enumerate(connectors)):
        reached += [
            (connector, found[place] if place in found else await _found_earlier(cache, connector, alone=alone))
            for place, connector in some
        ]
    return reached


async def _found_earlier(cache: ReachCache, connector: Connector, *, alone: bool) -> Reach | BrokerError:
    error = connector_not_looked_at(connector.name, alone=alone)
    earlier = Reach(await cache.knowledge(connector).all(), [AccountError("", error)])
    try:
        if connector.resource is None:
            return earlier.require_any()
        return Reach([own_container(connector, earlier)], earlier.errors)
    except BrokerError as none:
        return none
