"""What goes through the proxy: bodies both ways, bounded; tokens that end meanwhile; tools and storage that break."""

import asyncio
import gzip

import aiohttp
import pytest
from aiohttp import web

from support.fake_storage import SECRET, SIGNATURE, Rig, running_rig
from support.stopwatch import ends_within
from valetkey.errors import BrokerUnreachableError, PermissionDeniedError
from valetkey.proxy.bodies import KEPT_BYTES

BLOB = "/acct/models/a/b.bin"
MIB = 1024 * 1024


def chunked(*chunks: bytes, end: bool = True) -> bytes:
    """Returns a body in chunks."""
    made = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return made + (b"0\r\n\r\n" if end else b"")


def head(rig: Rig, *headers: str, method: str = "PUT") -> bytes:
    """Returns the head of a request for the blob."""
    lines = (f"{method} {BLOB}?{rig.sas} HTTP/1.1", f"Host: 127.0.0.1:{rig.proxy.port}", *headers, "", "")
    return "\r\n".join(lines).encode()


async def test_a_403_is_mended_by_a_fresh_token_once(rig: Rig) -> None:
    """Protects a job whose token ended, or whose key was revoked, between the look at it and its use."""
    rig.storage.accepted = 2
    assert (await rig.ask("PUT", BLOB, body=b"weights"))[0] == 201
    first, second = rig.storage.asked
    assert (first.body, second.body) == (b"weights", b"weights")
    assert (SIGNATURE.format(1) in first.target, SIGNATURE.format(2) in second.target) == (True, True)
    assert (rig.proxy.counts.tokens, rig.proxy.counts.renewed_after_403) == (2, 1)


async def test_a_503_at_the_moment_of_a_renewal(rig: Rig) -> None:
    """Protects tools that try again: the second request has the new token, and nothing of the old one."""

    async def busy_once(_request: web.BaseRequest) -> web.Response | None:
        if rig.tokens.number > 1:
            return None
        rig.tokens.number = 2
        return web.Response(status=503, headers={"x-ms-error-code": "ServerBusy", "Retry-After": "1"})

    rig.storage.answer = busy_once
    busy, answer = await rig.ask("PUT", BLOB, body=b"weights")
    assert (busy, b"ServerBusy" in answer, b"Retry-After: 1" in answer) == (503, True, True)
    assert (await rig.ask("PUT", BLOB, body=b"weights"))[0] == 201
    assert [asked.target.count("sig=") for asked in rig.storage.asked] == [1, 1]
    first, second = (asked.target for asked in rig.storage.asked)
    assert (SIGNATURE.format(1) in first, SIGNATURE.format(2) in second) == (True, True)


async def test_chunks_are_sent_again_too(rig: Rig) -> None:
    """Protects uploads whose length nobody knows; storage may refuse before it has read them."""
    for early in (False, True):
        rig.storage.accepted, rig.storage.early = rig.tokens.number + 1, early
        parts = [bytes([number]) * 300_000 for number in range(8)]
        answer = await rig.raw(head(rig, "Transfer-Encoding: chunked", "Connection: close") + chunked(*parts))
        assert answer.startswith(b"HTTP/1.1 201")
        assert rig.storage.asked[-1].body == b"".join(parts)
        assert rig.storage.asked[-1].headers["Transfer-Encoding"] == "chunked"
        assert "Content-Length" not in rig.storage.asked[-1].headers


async def test_a_refusal_that_a_token_does_not_mend_asks_for_no_more_of_them(rig: Rig) -> None:
    """Protects the broker and its ledger from one lease for each request that a firewall refuses."""
    rig.storage.accepted = 9
    assert (await rig.ask("GET", BLOB))[0] == 403
    rig.tokens.of_use = False
    for _ in range(5):
        assert (await rig.ask("GET", BLOB))[0] == 403
    assert rig.tokens.renewals == 1

    async def mismatch(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=403, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"})

    rig.storage.accepted, rig.storage.answer = 1, mismatch
    assert (await rig.ask("DELETE", BLOB))[0] == 403
    assert rig.tokens.renewals == 1


async def test_what_is_large_goes_through_and_is_not_kept(rig: Rig) -> None:
    """Protects the memory of a pod: 24 MiB stream through once, and a 403 is the tool's to mend."""
    body = bytes(3 * KEPT_BYTES)
    budget = rig.proxy._budget.left
    assert (await rig.ask("PUT", BLOB, body=body))[0] == 201
    assert rig.storage.asked[-1].body == body
    rig.storage.accepted = 2
    assert (await rig.ask("PUT", BLOB, body=body))[0] == 403
    assert rig.proxy._budget.left == budget


async def test_expect_100_continue_comes_after_the_guard(rig: Rig) -> None:
    """Protects curl, which waits for it a second, and whoever is refused: their body need not be sent."""
    expect = ("Expect: 100-continue", "Content-Length: 7", "Connection: close")
    answer = await rig.raw(head(rig, *expect) + b"weights")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")
    assert (rig.storage.asked[0].body, "Expect" in rig.storage.asked[0].headers) == (b"weights", False)
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.proxy.port)
    writer.write(head(rig, *expect).replace(SECRET.encode(), b"guessed"))
    assert (await reader.readline()).startswith(b"HTTP/1.1 403 ")
    writer.close()


async def test_a_tool_that_ends_its_side_is_answered(rig: Rig) -> None:
    """Protects tools that write all that they have to say, end their side, and read then: `nc -N`, old HTTP clients."""
    whole = head(rig, "Content-Length: 7") + b"weights"
    for sent in (whole, head(rig, method="GET"), head(rig, "Transfer-Encoding: chunked") + chunked(b"weights")):
        for version in (b"HTTP/1.1", b"HTTP/1.0"):
            if version == b"HTTP/1.0" and b"chunked" in sent:
                continue  # not known there
            answer = await rig.raw(sent.replace(b"HTTP/1.1", version), end=True)
            assert answer.startswith((b"HTTP/1.1 201 ", b"HTTP/1.0 201 ")), sent
    # Also while storage thinks.
    release = asyncio.Event()

    async def late(_request: web.BaseRequest) -> web.Response:
        await release.wait()
        return web.Response(status=200, body=b"w" * MIB)

    rig.storage.answer, rig.storage.began = late, asyncio.Event()
    asking = asyncio.create_task(rig.raw(head(rig, method="GET"), cut=True))
    await rig.storage.began.wait()
    release.set()
    assert (await asking).endswith(b"w" * MIB)


async def test_an_upload_that_breaks_off_is_no_blob(rig: Rig) -> None:
    """Protects against half a blob that looks whole: storage must not see its end."""
    for sent in (
        head(rig, "Transfer-Encoding: chunked") + chunked(b"half", end=False),
        head(rig, "Content-Length: 100") + b"half",
    ):
        await rig.raw(sent, cut=True)
        async with asyncio.timeout(20):
            await rig.storage.heard.wait()
        assert {asked.method for asked in rig.storage.asked} == {"CUT OFF"}
        rig.storage.asked.clear()
        rig.storage.heard.clear()
        rig.storage.began.clear()


async def test_ranges_and_packed_blobs_come_as_they_are(rig: Rig) -> None:
    """Protects bytes: nothing is unpacked on the way, and lengths, ranges and hashes stay true."""
    packed = gzip.compress(b"weights")

    async def part(request: web.BaseRequest) -> web.Response:
        headers = {"Content-Range": "bytes 0-9/10", "Content-Encoding": "gzip", "ETag": '"1"', "Content-MD5": "m"}
        return web.Response(status=206, body=b"" if request.method == "HEAD" else packed, headers=headers)

    rig.storage.answer = part
    status, answer = await rig.ask("GET", BLOB, "x-ms-range: bytes=0-9", "Range: bytes=0-9")
    assert (status, answer.endswith(b"\r\n\r\n" + packed)) == (206, True)
    for line in (
        b"Content-Range: bytes 0-9/10",
        b"Content-Encoding: gzip",
        b'Etag: "1"',
        b"Content-Length: %d" % len(packed),
    ):
        assert line in answer
    assert rig.storage.asked[0].headers["Range"] == "bytes=0-9"


async def test_head_tells_a_length_and_has_no_body(rig: Rig) -> None:
    """Protects tools that ask for a blob's size, and the next request on their connection."""

    async def properties(_request: web.BaseRequest) -> web.Response:
        return web.Response(headers={"Content-Length": "1234"})

    rig.storage.answer = properties
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.head(f"http://127.0.0.1:{rig.proxy.port}{BLOB}?{rig.sas}") as answer:
                assert (answer.status, answer.headers["Content-Length"]) == (200, "1234")


async def test_signatures_do_not_come_back(rig: Rig) -> None:
    """Protects the token from what storage repeats: URLs of copies, lists, and errors that quote a signature."""
    real = SIGNATURE.format(1)
    plain = "PLANTED+signature/1="

    async def talkative(request: web.BaseRequest) -> web.Response:
        url = f"https://acct/models/a?sv=1&sig={real}"
        headers = {"x-ms-copy-source": url, "Location": url, "x-ms-meta-a": f"x {plain}"}
        filler = "z" * 100_000
        listing = f"<CopySource>https://acct/a?sv=1&amp;sig={real}</CopySource>{filler}'{plain}'{filler}?sig=SHORT"
        return web.Response(status=403 if "deny" in request.path else 200, text=listing, headers=headers)

    rig.storage.answer = talkative
    for target in ("/acct/models?restype=container&comp=list", "/acct/models/deny"):
        _, answer = await rig.ask("GET", target)
        assert answer.count(b"<CopySource>https://acct/a?sv=1&amp;sig=xxx") == 1
        for told in (real, plain, "SHORT"):
            assert told.encode() not in answer
    # A blob is the tool's own, whatever it holds.
    _, answer = await rig.ask("GET", BLOB)
    assert b"?sig=SHORT" in answer.partition(b"\r\n\r\n")[2]
    assert real.encode() not in answer.partition(b"\r\n\r\n")[0]


async def test_redirects_are_neither_followed_nor_told(rig: Rig) -> None:
    """Protects the token from whoever could have storage send it elsewhere."""

    async def elsewhere(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{rig.storage.port}/acct/models/c"})

    rig.storage.answer = elsewhere
    status, answer = await rig.ask("GET", BLOB)
    assert (status, b"RedirectNotFollowed" in answer, b"Location" in answer) == (502, True, False)
    assert len(rig.storage.asked) == 1


async def test_an_answer_that_breaks_off_does_not_look_whole(rig: Rig) -> None:
    """Protects readers from half a blob: the connection breaks, as it would without the proxy."""

    async def half(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        await asyncio.sleep(0.05)
        request.transport.abort()
        return response

    rig.storage.answer = half
    with pytest.raises(aiohttp.ClientError):
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{rig.proxy.port}{BLOB}?{rig.sas}") as answer,
        ):
            await answer.read()


async def test_a_tool_that_stops_reading_holds_nothing_for_ever() -> None:
    """Protects the proxy's memory and its connections: little is read ahead, and in the end the tool is gone."""
    sent = 0
    ended = asyncio.Event()

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Length": str(1024 * MIB)})
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(MIB))
                sent += MIB
        finally:
            ended.set()

    async with running_rig(stalled_seconds=0.5) as rig:
        rig.storage.answer = endless
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.proxy.port, limit=MIB)
        writer.write(head(rig, method="GET"))
        await reader.readexactly(1000)
        with ends_within():
            await ended.wait()
        assert sent < 64 * MIB
        writer.close()


async def test_three_hundred_requests_at_once(rig: Rig) -> None:
    """Protects tools that do much at a time: all are answered, by few connections to storage."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as session:

        async def put(number: int) -> int:
            url = f"http://127.0.0.1:{rig.proxy.port}/acct/models/{number}?{rig.sas}"
            async with session.put(url, data=b"x" * 100) as answer:
                return answer.status

        statuses = await asyncio.gather(*(put(number) for number in range(300)))
    assert (set(statuses), len(rig.storage.asked), rig.proxy.counts.failures) == ({201}, 300, 0)


async def test_storage_that_is_away_is_told(rig: Rig) -> None:
    """Protects whoever looks for the cause: the answer names storage, and is one that tools try again."""
    async with aiohttp.ClientSession() as session:
        rig.proxy.place = type(rig.proxy.place)("acct", "models", "http://127.0.0.1:9", "/acct")
        async with session.get(f"http://127.0.0.1:{rig.proxy.port}{BLOB}?{rig.sas}") as answer:
            text = await answer.text()
            assert (answer.status, "Storage cannot be reached" in text, "sig=" in text) == (502, True, False)


async def test_without_a_token_the_reason_is_told(rig: Rig) -> None:
    """Protects jobs while the broker is away (503: try again) and after it has said no (403: do not)."""
    rig.tokens.error = BrokerUnreachableError("cannot reach the broker at broker:8443 <x>")
    status, answer = await rig.ask("GET", BLOB)
    assert (status, b"cannot reach the broker at broker:8443 &lt;x&gt;" in answer) == (503, True)
    rig.tokens.error = PermissionDeniedError("no grant lets you")
    assert (await rig.ask("GET", BLOB))[0] == 403
    assert rig.storage.asked == []


async def test_what_is_under_way_may_end() -> None:
    """Protects an upload at the end of a pod's life: it goes on to its end, and nothing new is taken meanwhile."""
    async with running_rig() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.proxy.port)
        idle_reader, idle = await asyncio.open_connection("127.0.0.1", rig.proxy.port)
        idle.write(head(rig, method="HEAD"))
        await idle_reader.readuntil(b"\r\n\r\n")
        rig.storage.began.clear()
        writer.write(head(rig, "Transfer-Encoding: chunked") + chunked(b"first ", end=False))
        await rig.storage.began.wait()
        ending = asyncio.create_task(rig.proxy.__aexit__(None, None, None))
        await asyncio.sleep(0.05)
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", rig.proxy.port)
        idle.write(head(rig, method="HEAD"))
        assert (await idle_reader.readline()).startswith(b"HTTP/1.1 503 ")
        writer.write(chunked(b"second"))
        with ends_within():
            assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")
        assert rig.storage.asked[-1].body == b"first second"
        writer.close()
        idle.close()
        await ending
