"""`make streams`: what idle streams of tokens cost a worker: memory of each, processor time, and others' tokens.

A broker with everything but Azure's network, and beside it an echo: a bare gRPC server with as many streams, which
send one token and then nothing. The streams are of other processes; each holds one connection.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc.aio

from bench.evidence import KEY
from bench.processes import Hall, Server
from bench.scene import REQUEST
from support.inproc import bearer
from valetkey.v1.token_service_pb2_grpc import TokenServiceStub

_HOLDERS = 4
_CALLS = 400


class _Holder:
    """A process that holds streams open."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, server: Server, count: int, ttl: int, heartbeat: int) -> "_Holder":
        """Starts it, and returns once its streams have had their tokens."""
        given = json.dumps(
            [server.port, server.ca_file.read_text(encoding="ascii"), KEY, REQUEST.resource_id, count, ttl, heartbeat]
        )
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.stream_holder", given, stdin=pipe, stdout=pipe
        )
        holder = cls(process)
        await holder.said()
        return holder

    async def said(self) -> dict[str, int]:
        """Returns its next line."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process that holds streams ended")
        said: dict[str, int] = json.loads(line)
        return said

    async def end(self) -> dict[str, int]:
        """Ends it; returns how many further tokens came, and how many streams had ended by themselves."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        said = await self.said()
        await self._process.wait()
        return said


async def _p99(server: Server) -> float:
    """Returns the 99th percentile, in milliseconds, of IssueToken calls one after the other."""
    credentials = grpc.ssl_channel_credentials(server.ca_file.read_bytes())
    took = []
    async with grpc.aio.secure_channel(f"127.0.0.1:{server.port}", credentials) as channel:
        stub = TokenServiceStub(channel)
        for _ in range(_CALLS):
            started = time.perf_counter()
            await stub.IssueToken(REQUEST, metadata=bearer(KEY))
            took.append((time.perf_counter() - started) * 1000)
    return statistics.quantiles(took, n=100)[98]


def _kib(server: Server) -> float:
    fields = Path(f"/proc/{server.child.pid}/smaps_rollup").read_text(encoding="ascii").split()
    return float(fields[fields.index("Pss:") + 1])


async def _measure(hall: Hall, kind: str, arguments: argparse.Namespace, options: list[Any]) -> dict[str, float]:
    server = await hall.start(kind, kind, cpus="0", options=options)
    is_broker = kind == "broker"
    row: dict[str, float] = {"streams": arguments.streams}
    if is_broker:
        server.probe()
        row["p99 ms without streams"] = await _p99(server)
    empty = _kib(server)
    count = arguments.streams // _HOLDERS
    starting = (_Holder.start(server, count, arguments.ttl, arguments.heartbeat) for _ in range(_HOLDERS))
    holders = await asyncio.gather(*starting)
    await asyncio.sleep(2)
    row["KiB a stream"] = (_kib(server) - empty) / arguments.streams
    before, began = server.cpu_seconds(), time.monotonic()
    await asyncio.sleep(arguments.seconds)
    row["% of a core"] = (server.cpu_seconds() - before) / (time.monotonic() - began) * 100
    if is_broker:
        row["p99 ms with idle streams"] = await _p99(server)
        if arguments.wave:
            await asyncio.sleep(max(0.0, began + arguments.ttl * 0.62 - time.monotonic()))
            before, began = server.cpu_seconds(), time.monotonic()
            row["p99 ms as they renew"] = await _p99(server)
            row["% of a core as they renew"] = (server.cpu_seconds() - before) / (time.monotonic() - began) * 100
    said = [await holder.end() for holder in holders]
    row["further tokens"] = sum(each["tokens"] for each in said)
    row["ended"] = sum(each["ended"] for each in said)
    return row


async def _main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="valetkey-streams-") as name:
        async with contextlib.AsyncExitStack() as stack:
            hall = Hall(Path(name))
            stack.push_async_callback(hall.close)
            sample = Path(name) / "answer.bin"
            broker = await hall.start("sample", "broker", cpus="0")
            sample.write_bytes(broker.probe().SerializeToString())
            await broker.child.stop()
            for kind in arguments.only.split(","):
                options = ["--answer", sample] if kind == "echo" else []
                row = await _measure(hall, kind, arguments, options)
                sys.stdout.write(f"{kind}: " + "  ".join(f"{what}: {value:.4g}" for what, value in row.items()) + "\n")
                sys.stdout.flush()


def main() -> None:
    """Runs it; `--help` lists the options."""
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to look at them while they are idle")
    parser.add_argument("--ttl", type=int, default=900, help="the tokens' life in seconds")
    parser.add_argument("--heartbeat", type=int, default=45, help="seconds between signs of life; 0 for none")
    parser.add_argument("--wave", action="store_true", help="wait until they renew, and ask for tokens then")
    parser.add_argument("--only", default="echo,broker")
    arguments = parser.parse_args()
    asyncio.run(_main(arguments))


if __name__ == "__main__":
    main()
