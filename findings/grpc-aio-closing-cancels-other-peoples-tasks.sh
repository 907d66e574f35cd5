#!/usr/bin/env bash
# `await channel.close()` of grpc.aio ends the calls under way, as documented; but tasks that wait for them get
# asyncio.CancelledError, though nobody cancelled them (Task.cancelling() is 0), where the synchronous channel raises
# RpcError with CANCELLED. `except grpc.RpcError` and `except Exception` do not see it, and asyncio.TaskGroup takes such a
# task for one that was cancelled on purpose: the group ends without any error, its work undone.
# Guessed before: AioRpcError with CANCELLED. (A server that answers CANCELLED does give that.)
# Versions: grpcio 1.85.1 (PyPI). Needs: python3 ≥ 3.11 with venv.
# Seen: RpcError CANCELLED; CancelledError, of unary calls and of streams; a TaskGroup that ends quietly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet grpcio==1.85.1 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import asyncio
import threading

import grpc
from grpc import aio


class Slow(grpc.GenericRpcHandler):
    """Answers nothing; says that a call has come."""

    def __init__(self):
        self.came = asyncio.Semaphore(0)

    def service(self, details):
        async def unary(request, context):
            self.came.release()
            await asyncio.sleep(3600)

        async def stream(request, context):
            self.came.release()
            await asyncio.sleep(3600)
            yield b""

        if details.method.endswith("Stream"):
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)


async def main():
    slow = Slow()
    server = aio.server()
    server.add_generic_rpc_handlers((slow,))
    place = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()

    plain, seen = grpc.insecure_channel(place), []

    def blocking():
        try:
            plain.unary_unary("/a.A/Unary")(b"")
        except grpc.RpcError as error:
            seen.append(f"{error.code().name}")

    thread = threading.Thread(target=blocking)
    thread.start()
    await slow.came.acquire()
    await asyncio.to_thread(plain.close)
    await asyncio.to_thread(thread.join)
    print("synchronous:", *seen)

    channel = aio.insecure_channel(place)

    async def unary():
        await channel.unary_unary("/a.A/Unary")(b"")

    async def stream():
        async for _ in channel.unary_stream("/a.A/Stream")(b""):
            pass

    async def told(call):
        try:
            await call()
        except BaseException as error:
            print(f"{call.__name__}:", type(error).__name__, asyncio.current_task().cancelling())
            raise

    async with asyncio.TaskGroup() as group:
        for call in (unary, stream):
            group.create_task(told(call))
            await slow.came.acquire()
        await channel.close()
    print("the group ended without an error")
    await server.stop(0)


asyncio.run(main())
PY
out=$(venv/bin/python try.py)
echo "$out"
[ "$(sort <<< "$out")" = "$(sort <<< "synchronous: CANCELLED
unary: CancelledError 0
stream: CancelledError 0
the group ended without an error")" ]
