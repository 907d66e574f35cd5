"""A TLS relay before a real server: it can keep an answer back, so that what was asked is done and nobody hears of it;
or a request, so that it never gets there; and it can be slow.
"""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 65536


@dataclass(slots=True)
class Held:
    """Answers to requests that hold `needle`: `answered` tells that there was one, `release` lets them go.

    With `request` it is the requests that are kept back, and `answered` tells that one came.
    """

    needle: bytes
    request: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)


class Relay:
    """Hands on what comes and goes, to and from `target` (an https URL), connection by connection."""

    def __init__(self, target: str, ca_file: Path, certificate: Path, key: Path) -> None:
        self.url = ""
        self.delay = 0.0
        """Seconds that each piece of a request takes on its way."""
        self._target = urlsplit(target)
        self._trust = ssl.create_default_context(cafile=str(ca_file))
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        self._held: list[Held] = []
        self._relaying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._relaying:
            task.cancel()
        await asyncio.gather(*self._relaying, return_exceptions=True)

    def hold(self, needle: bytes, *, request: bool = False) -> Held:
        """Keeps back what is answered to requests that hold `needle` in one piece, or the `request` itself."""
        held = Held(needle, request)
        self._held.append(held)
        return held

    def heal(self) -> None:
        """Lets everything through again."""
        for held in self._held:
            held.release.set()
        self._held.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._relay(reader, writer))
        self._relaying.add(task)
        task.add_done_callback(self._relaying.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            there, back = await asyncio.open_connection(
                self._target.hostname, self._target.port, ssl=self._trust, server_hostname=self._target.hostname
            )
            waiting: list[Held] = []
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._ask(reader, back, waiting))
                    group.create_task(self._answer(there, writer, waiting))
            finally:
                back.close()
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, waiting: list[Held]) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                waiting += [held for held in self._held if held.needle in data and not held.request]
                for held in [held for held in self._held if held.needle in data and held.request]:
                    held.answered.set()
                    await held.release.wait()
                await asyncio.sleep(self.delay)
                back.write(data)
                await back.drain()
        back.close()

    async def _answer(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: list[Held]) -> None:
        with contextlib.suppress(OSError):
            while data := await there.read(_CHUNK):
                while waiting:
                    waiting[0].answered.set()
                    await waiting.pop(0).release.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
