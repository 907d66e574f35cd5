"""How calls are kept from being lost when the server stops."""

import asyncio

from valetkey_broker.errors import broker_stopping

_QUIET_SECONDS = 0.05
_LONGEST_SECONDS = 1.0


class Drain:
    """Holds calls back while the server gets ready to stop.

    What gRPC has received and not handed over when the server stops ends as CANCELLED, which nobody tries again.
    Callers that are answered call again, those that are held back do not: so it gets quiet.
    """

    def __init__(self) -> None:
        self._taken = 0
        self._ending = False
        self._ended = asyncio.Event()

    def count(self) -> None:
        """Notes that a call came."""
        self._taken += 1

    async def until_quiet(self) -> None:
        """Holds back what comes from now on, and returns as soon as nothing more does; calls under way go on."""
        self._ending = True
        loop = asyncio.get_running_loop()
        until, taken = loop.time() + _LONGEST_SECONDS, -1
        while taken != self._taken and loop.time() < until:
            taken = self._taken
            await asyncio.sleep(_QUIET_SECONDS)

    def release(self) -> None:
        """Has all refused that is held back or still to come. Call it once clients were told to leave."""
        self._ended.set()

    async def hold(self) -> None:
        """Lets a call pass while nothing stops. Otherwise raises NOT_SERVING, in time."""
        if self._ending:
            await self._ended.wait()
            raise broker_stopping()
