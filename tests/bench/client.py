"""A load generator that shows a client certificate, which h2load cannot: `python -m bench.client …` prints JSON.

It speaks just as much HTTP/2 as a server of gRPC needs (RFC 9113, RFC 7541): ready-made frames go out, and of what
comes back only the ends of streams and the sizes are looked at.
"""

import argparse
import asyncio
import json
import ssl
import statistics
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import uvloop

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_WINDOW = 2**31 - 1
_FIRST_DYNAMIC = 62


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Returns a frame (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def header_blocks(path: str, authority: str) -> tuple[bytes, bytes]:
    """Returns the headers of a connection's first request, which fills the table, and of all later ones."""
    fixed = bytes((0x80 | 3, 0x80 | 7))  # :method POST, :scheme https; RFC 7541, appendix A
    # Name as the index of the static table where it is there; all of it is added to the dynamic one.
    named = [(4, "", path), (1, "", authority), (31, "", "application/grpc"), (0, "te", "trailers")]
    first = b"".join(
        bytes((0x40 | index,)) + (_text(name) if name else b"") + _text(value) for index, name, value in named
    )
    later = bytes(0x80 | _FIRST_DYNAMIC + len(named) - 1 - place for place in range(len(named)))
    return fixed + first, fixed + later


def _text(value: str) -> bytes:
    if len(value) > 0x7E:
        raise ValueError("too long for a length of one byte")
    return bytes((len(value),)) + value.encode("ascii")


class Load:
    """Counts what is left to do, and what came back."""

    def __init__(self, requests: int) -> None:
        self.left = requests
        self.wanted = requests
        self.millis: list[float] = []
        self.answer_bytes = 0
        self.done = asyncio.get_running_loop().create_future()

    def finished(self, seconds: float) -> None:
        """Takes one answer."""
        self.millis.append(seconds * 1000)
        if len(self.millis) == self.wanted:
            self.done.set_result(None)

    def failed(self, why: str) -> None:
        """Ends the run."""
        if not self.done.done():
            self.done.set_exception(RuntimeError(why))


class Connection(asyncio.Protocol):
    """One connection with so many calls at a time."""

    def __init__(self, load: Load, calls: int, blocks: tuple[bytes, bytes], message: bytes) -> None:
        self._load = load
        self._calls = calls
        self._block, self._later = blocks
        self._message = message
        self._stream = -1
        self._started: dict[int, float] = {}
        self._rest = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Opens the connection with windows wide enough for a whole run."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own class
        settings = struct.pack(">HI", 4, _WINDOW)
        wide = struct.pack(">I", _WINDOW - 65535)
        out = [_PREFACE, frame(_SETTINGS, 0, 0, settings), frame(_WINDOW_UPDATE, 0, 0, wide)]
        self._transport.write(b"".join(out + [self._request() for _ in range(self._calls)]))

    def data_received(self, data: bytes) -> None:
        """Takes the ends of answers, and makes as many new calls."""
        out = []
        for kind, flags, stream, payload in self._frames(data):
            if kind == _DATA:
                self._load.answer_bytes += len(payload)
            elif kind in (_RESET, _GOAWAY):
                self._load.failed(f"the server ended a call: frame {kind}, {payload!r}")
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                out.append(frame(kind, _ACK, 0, payload if kind == _PING else b""))
            if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                self._load.finished(time.perf_counter() - self._started.pop(stream))
                out.append(self._request())
        self._transport.write(b"".join(out))

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the run if it is not over."""
        self._load.failed(f"the server closed the connection: {exc}")

    def _request(self) -> bytes:
        if self._load.left == 0:
            return b""
        self._load.left -= 1
        self._stream += 2
        self._started[self._stream] = time.perf_counter()
        block, self._block = self._block, self._later
        headers = frame(_HEADERS, _END_HEADERS, self._stream, block)
        return headers + frame(_DATA, _END_STREAM, self._stream, self._message)

    def _frames(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._rest + data
        at = 0
        while len(data) - at >= 9:
            head, flags, stream = struct.unpack_from(">IBI", data, at)
            end = at + 9 + (head >> 8)
            if len(data) < end:
                break
            yield head & 0xFF, flags, stream, data[at + 9 : end]
            at = end
        self._rest = data[at:]


async def run(arguments: argparse.Namespace) -> dict[str, float]:
    """Makes the calls and returns what bench.load.Measured needs, and the share of its core that this took."""
    tls = ssl.create_default_context(cafile=str(arguments.ca))
    tls.set_alpn_protocols(["h2"])
    tls.load_cert_chain(arguments.certificate, arguments.key)
    body = arguments.message.read_bytes()
    load = Load(arguments.requests)
    blocks = header_blocks(arguments.path, f"127.0.0.1:{arguments.port}")
    began, cpu = time.perf_counter(), time.process_time()
    connections = [
        asyncio.get_running_loop().create_connection(
            lambda: Connection(load, arguments.calls // arguments.connections, blocks, body),
            "127.0.0.1",
            arguments.port,
            ssl=tls,
        )
        for _ in range(arguments.connections)
    ]
    opened = await asyncio.gather(*connections)
    await asyncio.wait_for(load.done, 120)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    for transport, _ in opened:
        transport.abort()
    percentiles = statistics.quantiles(load.millis, n=100)
    return {
        "requests": arguments.requests,
        "per_second": arguments.requests / seconds,
        "p50": percentiles[49],
        "p99": percentiles[98],
        "answer_bytes": load.answer_bytes / arguments.requests - 5,
        "busy": cpu / seconds,
    }


def main() -> None:
    """Runs once and prints the result as JSON."""
    parser = argparse.ArgumentParser()
    for name in ("ca", "certificate", "key", "message"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("port", "requests", "connections", "calls"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--path", required=True)
    sys.stdout.write(json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
