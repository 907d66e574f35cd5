"""Batches: requests inside of a request, of which not one may slip by."""

import pytest

from support.fake_storage import SECRET, SIGNATURE, Rig
from support.stopwatch import ends_within
from valetkey.proxy.admission import LocalKey
from valetkey.proxy.batch import signed_batch
from valetkey.proxy.refusals import Refusal
from valetkey.proxy.served_container import ServedContainer

BATCH = "/acct/models?restype=container&comp=batch"
KIND = "Content-Type: multipart/mixed; boundary=batch_1"


def batch(*requests: str, boundary: str = "batch_1") -> bytes:
    """Returns a batch as Azure's SDK for Python makes it."""
    parts = [
        f"--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
        f"Content-ID: {number}\r\n\r\n{request}\r\n\r\n"
        for number, request in enumerate(requests)
    ]
    return "".join((*parts, f"--{boundary}--\r\n")).encode()


def delete(path: str, *headers: str) -> str:
    """Returns one request of a batch."""
    return "\r\n".join((f"DELETE {path} HTTP/1.1", *headers))


async def test_each_request_is_signed(rig: Rig) -> None:
    """Protects `delete_blobs`: the tokens stand in the body, where no header reaches them."""
    body = batch(
        delete(f"/acct/models/a%20b?snapshot=1&{rig.sas}", "x-ms-date: now", "Content-Length: 0"),
        delete("/acct/models/c", "Authorization: Bearer planted", "If-Match: *"),
        delete(f"/acct/models/d?comp=tier&{rig.sas}", "x-ms-access-tier: Cool").replace("DELETE", "PUT"),
    )
    assert (await rig.ask("POST", BATCH, KIND, body=body))[0] == 201
    sent = rig.storage.asked[0].body
    real = f"sv=2025-07-05&sr=c&sp=rwl&sig={SIGNATURE.format(1)}"
    assert f"\r\n\r\nDELETE /acct/models/a%20b?snapshot=1&{real} HTTP/1.1\r\nx-ms-date: now\r\n".encode() in sent
    assert f"DELETE /acct/models/c?{real} HTTP/1.1\r\nIf-Match: *\r\n\r\n".encode() in sent
    assert f"PUT /acct/models/d?comp=tier&{real} HTTP/1.1\r\n".encode() in sent
    assert (b"planted" in sent, SECRET.encode() in sent) == (False, False)
    assert sent.count(b"Content-ID: ") == 3
    assert rig.storage.asked[0].headers["Content-Length"] == str(len(sent))


async def test_a_batch_is_sent_again_with_a_fresh_token(rig: Rig) -> None:
    """Protects a batch whose token ended: it is signed anew as a whole."""
    rig.storage.accepted = 2
    assert (await rig.ask("POST", BATCH, KIND, body=batch(delete("/acct/models/a"))))[0] == 201
    assert SIGNATURE.format(2).encode() in rig.storage.asked[1].body


@pytest.mark.parametrize(
    "body",
    [
        batch(delete("/acct/models/a"), delete("/acct/other/a")),
        batch(delete("/acct/models/../other/a")),
        batch(delete("/acct/models/%2e%2e/other/a")),
        batch(delete("/models/a")),
        batch(delete("http://evil.example/acct/models/a")),
        batch(delete("/acct/models/a?sig=guessed")),
        batch("GET /acct/models/a HTTP/1.1"),
        batch("PUT /acct/models/a HTTP/1.1"),
        batch(f"{delete('/acct/models/a')}\r\n\r\nDELETE /acct/other/a HTTP/1.1"),
        batch(f"x\r\n\r\n{delete('/acct/other/a')}"),
        batch(delete("/acct/models/a")).replace(b"Content-ID", b"Content-XX"),
        batch(delete("/acct/models/a")).replace(b"application/http", b"text/plain"),
        batch(delete("/acct/models/a"), boundary="another"),
        batch(delete("/acct/models/a"))[:-20],
        batch(*[delete("/acct/models/a")] * 257),
        b"",
        b"--batch_1--",
    ],
)
async def test_a_batch_that_holds_anything_else_is_refused(rig: Rig, body: bytes) -> None:
    """Protects other containers, and everything that a batch must not do: what is not understood is not sent."""
    status, _ = await rig.ask("POST", BATCH, KIND, body=body)
    assert (status in (400, 403), rig.storage.asked) == (True, [])


async def test_a_batch_is_bounded_and_has_to_say_what_it_is(rig: Rig) -> None:
    """Protects memory: a batch is the one body that is read as a whole."""
    assert (await rig.ask("POST", BATCH, KIND, body=bytes(5 * 1024 * 1024)))[0] == 413
    for kind in (
        "Content-Type: text/plain",
        "Content-Type: multipart/mixed",
        'Content-Type: multipart/mixed; boundary="',
    ):
        assert (await rig.ask("POST", BATCH, kind, body=batch(delete("/acct/models/a"))))[0] == 400
    assert rig.storage.asked == []


async def test_lines_may_end_as_they_do_elsewhere(rig: Rig) -> None:
    """Protects tools that end lines with a line feed alone."""
    body = batch(delete("/acct/models/a")).replace(b"\r\n", b"\n")
    assert (await rig.ask("POST", BATCH, KIND, body=body))[0] == 201


def test_no_header_takes_longer_than_its_length() -> None:
    """Protects the proxy's one thread: blanks before a byte that no header has took the square of their number."""
    place, key = ServedContainer("acct", "models", "https://acct.example", ""), LocalKey(SECRET)
    kind = KIND.partition(": ")[2]
    blanks = "x-ms-a:" + " " * 8000 + "\x01"
    body = batch(*[delete("/acct/models/a", *[blanks] * 240)] * 2)
    with ends_within():  # It was over a minute.
        made = signed_batch(body, kind, place, key, "sig=S")
    assert b"x-ms-a" not in made
    with pytest.raises(Refusal, match="longer than 8192 bytes"):
        signed_batch(batch(delete("/acct/models/a", f"{blanks:9000}")), kind, place, key, "sig=S")


async def test_batches_count_towards_the_memory_that_bodies_may_take(rig: Rig) -> None:
    """Protects the memory of a pod from many batches at once; what one took comes back, however it ended."""
    left = rig.proxy._budget.left
    body = batch(delete("/acct/models/a"))
    assert (await rig.ask("POST", BATCH, KIND, body=body))[0] == 201
    assert (await rig.ask("POST", BATCH, KIND, body=bytes(5 * 1024 * 1024)))[0] == 413
    assert rig.proxy._budget.left == left
    rig.proxy._budget.left = 2 * len(body) - 1
    status, answer = await rig.ask("POST", BATCH, KIND, body=body)
    assert (status, b"ServerBusy" in answer, rig.proxy._budget.left) == (503, True, 2 * len(body) - 1)
