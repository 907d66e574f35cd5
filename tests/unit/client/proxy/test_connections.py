"""Connections of everybody on this machine: those that show nothing end, those of tools stay."""

import asyncio
import errno
import logging
import resource
from typing import Any

import aiohttp
import pytest

from support.fake_storage import SECRET, Rig, running_rig
from support.stopwatch import ends_within
from valetkey.cli import proxy_options
from valetkey.proxy.connections import most_open

BLOB = "/acct/models/a/b.bin"
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def opened(rig: Rig, sent: bytes = b"") -> Pair:
    """Returns a connection on which this was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.proxy.port)
    writer.write(sent)
    return reader, writer


async def ended(pair: Pair) -> bytes:
    """Returns what still comes on a connection, which has to end."""
    reader, writer = pair
    try:
        with ends_within():
            async with asyncio.timeout(30):
                return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def head(rig: Rig, secret: str = SECRET) -> bytes:
    """Returns the head of a request that keeps its connection."""
    target = f"{BLOB}?{rig.sas}".replace(SECRET, secret)
    return f"HEAD {target} HTTP/1.1\r\nHost: 127.0.0.1:{rig.proxy.port}\r\n\r\n".encode()


async def test_who_shows_no_token_in_time_is_cut_off() -> None:
    """Protects descriptors from who sends nothing, half a head, or guesses; a tool's connection stays, also idle."""
    async with running_rig(proof_seconds=0.3) as rig:
        tool = await opened(rig, head(rig))
        assert (await tool[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
        others = [await opened(rig, sent) for sent in (b"", head(rig)[:-2], head(rig, "0" * 64))]
        answers = [await ended(pair) for pair in others]
        assert [answer[:12] for answer in answers] == [b"", b"", b"HTTP/1.1 403"]
        tool[1].write(head(rig))
        assert (await tool[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
        tool[1].close()


async def test_beyond_the_limit_the_oldest_goes_that_has_shown_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Protects tools from a flood: theirs stay, and new ones of theirs still get in."""
    async with running_rig(most_open=8) as rig, aiohttp.ClientSession() as tool:
        for _ in range(2):
            async with tool.put(f"http://127.0.0.1:{rig.proxy.port}{BLOB}?{rig.sas}", data=b"x") as answer:
                assert answer.status == 201
            flood = [await opened(rig) for _ in range(20)]
            assert await ended(flood[0]) == b""
            assert (await rig.ask("GET", BLOB))[0] == 201
            assert len(rig.proxy._connections._open) <= 8
            for _, writer in flood:
                writer.close()
        assert len(rig.storage.asked) == 4
    assert "Task exception" not in caplog.text


async def test_where_all_are_tools_the_new_one_goes() -> None:
    """Protects uploads under way: nothing that was let in is dropped for what was not."""
    async with running_rig(most_open=2) as rig:
        tools = [await opened(rig, head(rig)) for _ in range(2)]
        for reader, _ in tools:
            await reader.readuntil(b"\r\n\r\n")
        assert await ended(await opened(rig)) == b""
        for reader, writer in tools:
            writer.write(head(rig))
            await reader.readuntil(b"\r\n\r\n")
            writer.close()
        assert not rig.proxy._connections._unproven


@pytest.mark.parametrize("sent", ["GET {} HTTP/9.x\r\n\r\n", "GET {}\x01 HTTP/1.1\r\n\r\n", "{}\r\n\r\n"])
async def test_what_is_no_http_is_not_repeated(rig: Rig, sent: str) -> None:
    """Protects the proxy's token, which stands in the request line, from logs of answers; no version is told either."""
    answer = await rig.raw(sent.format(f"{BLOB}?{rig.sas}").encode())
    assert (answer[8:13], b"valetkey proxy" in answer) == (b" 400 ", True)
    for told in (SECRET.encode(), b"aiohttp", BLOB.encode()):
        assert told not in answer


async def test_descriptors_that_run_out_are_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Protects logs from a traceback for each try; everything else is told as before, and after the proxy's end too."""
    others: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        others.append(context)

    loop.set_exception_handler(note)
    try:
        with caplog.at_level(logging.WARNING):
            async with running_rig():
                for _ in range(64):
                    loop.call_exception_handler({"exception": OSError(errno.EMFILE, "Too many open files")})
                loop.call_exception_handler({"message": "another"})
            assert loop.get_exception_handler() is note
    finally:
        loop.set_exception_handler(before)
    assert [record.getMessage() for record in caplog.records].count(
        "the proxy takes no further connections for now: Too many open files; expected a higher limit"
    ) == 1
    assert others == [{"message": "another"}]


@pytest.mark.parametrize(("limits", "raised"), [((256, 1024), 1024), ((256, 10**6), 4096), ((5000, 10**6), None)])
def test_the_commands_raise_their_own_limit(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], raised: int | None
) -> None:
    """Protects many connections on machines whose soft limit is low; a command inherits no more than is needed."""
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: set_to.append(given))
    proxy_options.raise_descriptors()
    assert set_to == ([] if raised is None else [(raised, limits[1])])
    monkeypatch.setattr(resource, "getrlimit", lambda _: (raised or limits[0], limits[1]))
    assert most_open() == (480 if raised == 1024 else 512)
