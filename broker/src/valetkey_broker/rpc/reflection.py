"""The reflection service, for as long as a call may take."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from grpc_reflection.v1alpha._async import ReflectionServicer


class Reflection(ReflectionServicer):  # type: ignore[misc]
    """Describes the services. A caller who asks nothing more does not keep the stream open for ever."""

    def __init__(self, names: Iterable[str], seconds: float) -> None:
        super().__init__(names)
        self._seconds = seconds

    async def ServerReflectionInfo(  # noqa: N802 (gRPC's naming)
        self, request_iterator: Any, unused_context: Any
    ) -> AsyncIterator[Any]:
        """Answers one question after the other. Raises TimeoutError at the end of the time."""
        async with asyncio.timeout(self._seconds):
            async for answer in super().ServerReflectionInfo(request_iterator, unused_context):
                yield answer
