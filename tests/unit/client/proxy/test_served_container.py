"""Where a proxy stands, on Azure and on emulators, and that no path leads from there."""

import asyncio
import posixpath
import re
from collections.abc import AsyncIterator
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fake_storage import SECRET
from valetkey.proxy.admission import LocalKey
from valetkey.proxy.batch import signed_batch
from valetkey.proxy.refusals import Refusal
from valetkey.proxy.response_masking import Mask
from valetkey.proxy.served_container import Query, ServedContainer

AZURE = ServedContainer.of("https://acct.blob.core.windows.net/models")
LOCAL = frozenset(("127.0.0.1:7", "localhost:7"))
# What paths that mean to lead elsewhere are made of.
PIECES = st.lists(
    st.sampled_from(
        ["/", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", "a", "acct", "models", "other", "%", "%25", "?"]
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://acct.blob.core.windows.net/models", ("acct", "models", "", "")),
        ("https://acct.z01.blob.storage.azure.net/$web/a/b", ("acct", "$web", "", "a/b")),
        ("https://127.0.0.1:10000/acct/models/dir/", ("acct", "models", "/acct", "dir/")),
        ("https://[::1]:10000/acct/models", ("acct", "models", "/acct", "")),
        ("https://localhost:10000/acct/models", ("acct", "models", "/acct", "")),
    ],
)
def test_the_place_of_a_url(url: str, expected: tuple[str, ...]) -> None:
    """Protects both layouts: the account in the host's name, as on Azure, or in the path, as on emulators."""
    place = ServedContainer.of(url)
    assert (place.account, place.container, place.base, place.path) == expected
    assert url.startswith(f"{place.origin}{place.base}/{place.container}")


def test_on_azure_the_account_is_no_part_of_the_path() -> None:
    """Protects requests, copies, renamings and batches on Azure itself, where tools see another path than storage."""
    rest = AZURE.rest_of("/acct/models/a%20b")
    assert AZURE.url(rest, Query.parse("snapshot=1&sig=x"), "sig=S") == (
        "https://acct.blob.core.windows.net/models/a%20b?snapshot=1&sig=S"
    )
    for source in ("http://127.0.0.1:7/acct/models/a", "https://ACCT.blob.core.windows.net:443/models/a?sig=x"):
        assert AZURE.signed_source(source, LOCAL, "sig=S") == "https://acct.blob.core.windows.net/models/a?sig=S"
    for source in (
        "https://acct.blob.core.windows.net/other/a",
        "https://acct.blob.core.windows.net.evil.example/models/a",
        "https://other.blob.core.windows.net/models/a",
        "http://acct.blob.core.windows.net/models/a",
    ):
        with pytest.raises(Refusal):
            AZURE.signed_source(source, LOCAL, "sig=S")
    part = "--b\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\nDELETE /acct/models/a HTTP/1.1\r\n\r\n--b--"
    made = signed_batch(part.encode(), "multipart/mixed; boundary=b", AZURE, LocalKey(SECRET), "sig=S")
    assert b"DELETE /models/a?sig=S HTTP/1.1" in made


@given(PIECES)
def test_whatever_is_let_through_stays_inside(pieces: str) -> None:
    """Protects the container: read in whichever way (unescaped, with dots taken away), a path is still below it."""
    for place in (AZURE, ServedContainer.of("https://127.0.0.1:10000/acct/models")):
        for path in (f"/acct/models{pieces}", f"/acct/models/{pieces}", pieces):
            try:
                rest = place.rest_of(path)
            except Refusal:
                continue
            inside = f"{place.base}/models"
            read = posixpath.normpath(re.sub(r"/+", "/", unquote(f"{inside}{rest}").replace("\\", "/")))
            assert read == inside or read.startswith(f"{inside}/")


@given(st.lists(st.integers(1, 700), max_size=6), st.integers(0, 900))
def test_no_way_of_cutting_a_body_lets_a_signature_through(cuts: list[int], before: int) -> None:
    """Protects lists that come in pieces: a signature is found wherever the pieces end, and lengths stay."""
    mask = Mask()
    mask.add("sv=1&sig=PLANTED%2Bsignature%3D")
    body = (
        b"z" * before
        + b"<CopySource>https://a/b?sv=1&amp;sig=ANOTHER%2Bone%3D</CopySource> 'PLANTED+signature='"
        + b"z" * 600
    )
    pieces, rest = [], body
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]

    async def chunks() -> AsyncIterator[bytes]:
        for piece in (*pieces, rest):
            yield piece

    async def read() -> bytes:
        return b"".join([chunk async for chunk in mask.stream(chunks())])

    found = asyncio.run(read())
    assert len(found) == len(body)
    assert b"ANOTHER" not in found
    assert b"PLANTED" not in found
