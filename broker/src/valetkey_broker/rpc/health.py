"""The health service: whether requests can be answered, for anybody who asks, at a bounded price."""

import asyncio
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from valetkey_broker.limits import Slots, network_of
from valetkey_broker.rpc.caller_evidence import peer_address

# Probers of a fleet watch with one stream each; whoever opens more does not need them.
MOST_WATCHES = 100
# So that no one address takes all of them away from the others.
MOST_WATCHES_OF_ONE = 20

_Status = Any  # health_pb2.HealthCheckResponse.ServingStatus; the library has no types.


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers Check and Watch. Unlike the library's own, its watches are bounded in number and end with the server.

    Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
    """

    def __init__(self) -> None:
        self._statuses: dict[str, _Status] = {}
        self._news = asyncio.Event()  # Set once, when something changed; then another takes its place.
        self._watches = 0
        self._of_one = Slots(MOST_WATCHES_OF_ONE)
        self._ended = False

    def set(self, service: str, status: _Status) -> None:
        """Changes what is said of a service, and tells those who watch it."""
        self._statuses[service] = status
        self._tell()

    def end(self) -> None:
        """Ends every watch as soon as it has told the last news; a server that stops need not wait for them."""
        self._ended = True
        self._tell()

    async def Check(  # noqa: N802 (gRPC's naming)
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> health_pb2.HealthCheckResponse:
        """Says how a service is."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802
        """Says how a service is, and again at each change, until the caller or the server ends."""
        if self._watches >= MOST_WATCHES:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{MOST_WATCHES} others watch already, which is all that this broker allows; use Check",
            )
        with self._of_one.hold(network_of(peer_address(context.peer()))) as free:
            if not free:
                await context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{MOST_WATCHES_OF_ONE} watch from this address already, which is all that this broker allows; "
                    "use Check",
                )
            self._watches += 1
            try:
                await self._tell_all(request.service, context)
            finally:
                self._watches -= 1

    async def _tell_all(self, service: str, context: Any) -> None:
        told: _Status = None
        while True:
            news = self._news
            status = self._statuses.get(service, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
                continue  # More may have happened while that was under way.
            if self._ended:
                return
            await news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
