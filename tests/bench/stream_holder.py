"""Holds streams of tokens open, in a process of its own: `python -m bench.stream_holder …`; `streams` asks it to.

It loads nothing that it does not need: the machine is the server's.
"""

import asyncio
import json
import sys
from typing import Any

import grpc.aio

from valetkey.v1.common_pb2 import Permission
from valetkey.v1.token_service_pb2 import WatchTokenRequest
from valetkey.v1.token_service_pb2_grpc import TokenServiceStub

_OPENING = 100


async def _hold(port: int, ca: str, key: str, resource_id: str, count: int, ttl: int, heartbeat: int) -> None:
    """Opens the streams, says so once each has had its token, and holds them until standard input ends."""
    credentials = grpc.ssl_channel_credentials(ca.encode())
    request = WatchTokenRequest()
    request.request.resource_id = resource_id
    request.request.permissions.extend((Permission.PERMISSION_READ, Permission.PERMISSION_LIST))
    request.request.ttl.seconds = ttl
    if heartbeat:
        request.heartbeat_interval.seconds = heartbeat
    opening = asyncio.Semaphore(_OPENING)
    tokens = 0
    metadata = (("authorization", f"Bearer {key}"),)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        stub = TokenServiceStub(channel)

        async def first() -> Any:
            async with opening:
                stream = stub.WatchToken(request, metadata=metadata)
                await stream.read()
                return stream

        async def rest(stream: Any) -> None:
            nonlocal tokens
            while (answer := await stream.read()) is not grpc.aio.EOF:
                tokens += answer.HasField("token")

        streams = await asyncio.gather(*(first() for _ in range(count)))
        reading = [asyncio.create_task(rest(stream)) for stream in streams]
        _say(opened=count)
        await asyncio.to_thread(sys.stdin.readline)
        ended = sum(task.done() for task in reading)
        _say(tokens=tokens, ended=ended)
        for task in reading:
            task.cancel()


def _say(**fields: int) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_hold(*json.loads(sys.argv[1])))
