"""Pages of listings are read as they arrive, a little at a time, and are not trusted."""

from collections.abc import AsyncIterator, Iterable, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.storage.blob.aio import BlobServiceClient

from support.background_rests import rests
from support.core import PROFILE, PROFILES, make_connector
from support.event_loop_turns import watched
from valetkey_broker.adapters.azure import AzureCloud
from valetkey_broker.adapters.azure.blob_storage import BlobStorage
from valetkey_broker.adapters.azure.container_pages import ListingTransport, PageReader
from valetkey_broker.adapters.azure.error_advice import Identity
from valetkey_broker.adapters.azure.errors import Asking, Step
from valetkey_broker.adapters.azure.transport import CLIENT_OPTIONS
from valetkey_broker.concurrency.cooperative_slices import SLICE

PAGE = 5000
# What Azure says of each container, and the least that there can be of one.
AS_AZURE = (
    "<Container><Name>{}</Name><Properties><Last-Modified>Fri, 27 Nov 2026 05:12:21 GMT</Last-Modified>"
    "<Etag>0x8DC000000000000</Etag><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
    "<DefaultEncryptionScope>$account-encryption-key</DefaultEncryptionScope>"
    "<DenyEncryptionScopeOverride>false</DenyEncryptionScopeOverride><HasImmutabilityPolicy>false"
    "</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold><ImmutableStorageWithVersioningEnabled>false"
    "</ImmutableStorageWithVersioningEnabled></Properties><Metadata><Name>not-this</Name></Metadata></Container>"
)
SHORTEST = "<Container><Name>{}</Name></Container>"


def page(names: Iterable[str], marker: str = "", form: str = AS_AZURE) -> bytes:
    """Returns a page as storage sends it, byte order mark included."""
    items = "".join(form.format(name) for name in names)
    return (
        '\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://a.invalid/">'
        f"<Prefix /><Containers>{items}</Containers><NextMarker>{marker}</NextMarker></EnumerationResults>"
    ).encode()


class Storage(AsyncHttpTransport[Any, Any]):
    """Answers with ready pages by their marker, in blocks as large as an unpacked one may be."""

    def __init__(self, pages: dict[str, bytes], status: int = 200, block: int = 1_000_000) -> None:
        self.asked: list[str] = []
        self._pages, self._status, self._block = pages, status, block

    async def send(self, request: Any, **config: Any) -> Any:
        assert config["stream"]
        marker = parse_qs(urlsplit(request.url).query).get("marker", [""])[0]
        self.asked.append(marker)
        body = self._pages[marker]

        async def blocks() -> AsyncIterator[bytes]:
            for start in range(0, len(body), self._block):
                yield body[start : start + self._block]

        async def read() -> bytes:
            return body

        return SimpleNamespace(
            request=request,
            status_code=self._status,
            reason="",
            headers={"x-ms-error-code": "AuthorizationFailure"},
            content_type="application/xml",
            iter_bytes=blocks,
            read=read,
            body=lambda: body,
            text=lambda _encoding=None: body.decode("utf-8-sig"),
        )

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


async def listed(storage: Storage) -> Sequence[str]:
    """Lists through the SDK."""
    transport = ListingTransport(storage)
    await through_sdk(transport)
    return transport.names


async def through_sdk(transport: ListingTransport) -> None:
    client = BlobServiceClient("https://a.invalid", transport=transport, **CLIENT_OPTIONS)
    async for _ in client.list_containers().by_page():
        pass


async def test_the_sdk_goes_from_page_to_page() -> None:
    """All names of all pages, and nothing else in them that is called a name."""
    names = [f"container-{n:05}" for n in range(12_000)]
    storage = Storage(
        {
            "": page(names[:PAGE], "/a/one&amp;two"),
            "/a/one&two": page(names[PAGE : 2 * PAGE], "/a/last"),
            "/a/last": page(names[2 * PAGE :]),
        },
        block=4096,
    )
    assert await listed(storage) == names
    assert storage.asked == ["", "/a/one&two", "/a/last"]


@pytest.mark.parametrize(("form", "most"), [(AS_AZURE, 64), (SHORTEST, 512)], ids=["as Azure", "shortest"])
async def test_no_slice_of_a_page_holds_up_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, form: str, most: int
) -> None:
    """However large the blocks are that arrive, others get their turn after some hundred containers at most."""
    read = 0
    feed = PageReader.feed

    def counted(self: PageReader, data: bytes) -> None:
        nonlocal read
        before = len(self.names)
        feed(self, data)
        read += len(self.names) - before

    monkeypatch.setattr(PageReader, "feed", counted)
    storage = Storage({"": page((f"c{n:04}" for n in range(PAGE)), form=form)})
    async with watched(lambda: read) as turns:
        await listed(storage)
    assert read == PAGE
    assert 0 < turns.most <= most


async def test_reading_a_page_leaves_most_of_the_time_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing is read in its share of the event loop: each piece takes a millisecond here, and two of rest."""
    rested = rests(monkeypatch)
    read = await listed(Storage({"": page(f"c{n:04}" for n in range(PAGE))}))
    assert len(read) == PAGE
    assert sum(rested) >= PAGE * len(AS_AZURE) / (16 * 1024) * 0.0015


async def test_names_are_made_containers_of_in_the_background_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind the reading, a look at each name and a container of it, is a tenth of a listing's work."""
    storage = Storage({"": page((f"c{n:04}" for n in range(PAGE)), form=SHORTEST)})
    network: Any = SimpleNamespace(transport=lambda _url: storage)
    asking = Asking(Step.CONTAINERS, "many", Identity("nobody"))
    service = BlobStorage(PROFILE, network, None, "acc", asking)
    monkeypatch.setattr(AzureCloud, "_service", lambda *_: service)
    nobody: Any = None
    rested = rests(monkeypatch)
    await listed(storage)
    by_reading = sum(rested)
    rested.clear()
    found = await AzureCloud(PROFILES).list_containers(make_connector(), nobody, "acc")
    assert len(found) == PAGE
    assert sum(rested) - by_reading >= 2 * PAGE / SLICE * 0.0015


async def test_a_refused_listing_is_the_sdks_to_tell() -> None:
    """Errors of storage reach the SDK as they came."""
    body = b"<?xml version='1.0'?><Error><Code>AuthorizationFailure</Code><Message>no</Message></Error>"
    with pytest.raises(HttpResponseError) as caught:
        await listed(Storage({"": body}, status=403))
    assert caught.value.status_code == 403


LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><EnumerationResults>&b;</EnumerationResults>'
FILE = '<!DOCTYPE l SYSTEM "file:///etc/passwd"><EnumerationResults />'
DEEP = "<EnumerationResults>" + "<a>" * 100_000


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (LAUGHS, "document type"),
        (FILE, "document type"),
        (DEEP, "nested"),
        ("<html><body>log in here</body></html>", "not a listing"),
        ("not XML", "not XML"),
        ("", "not XML"),
        ("<EnumerationResults><Containers><Container>", "not XML"),
        (page(["x" * 5000]).decode("utf-8-sig"), "too long"),
        (f"<EnumerationResults><!--{'x' * 1_000_000}", "tag or comment"),
        ("<EnumerationResults>" + "<!-- -->" * 2_200_000, "page of the listing is too large"),
    ],
    ids=["laughs", "file", "deep", "portal", "no XML", "empty", "cut", "name", "endless comment", "large"],
)
async def test_what_is_no_listing_is_not_read_on(body: str, why: str) -> None:
    """Whatever stands where storage should be makes an error, not work."""
    with pytest.raises(ValueError, match=why):
        await listed(Storage({"": body.encode()}))


async def test_listings_that_lead_in_a_circle_end() -> None:
    """A marker that was there before is noticed at once."""
    storage = Storage({"": page(["one"], "m1"), "m1": page(["two"], "m2"), "m2": page(["three"], "m1")})
    with pytest.raises(ValueError, match="leads back"):
        await listed(storage)
    assert storage.asked == ["", "m1", "m2"]


@pytest.mark.parametrize("bound", ["_MOST_PAGES", "_MOST_NAMES"])
async def test_listings_without_an_end_are_given_up(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Neither pages without end nor names without end fill the memory."""
    monkeypatch.setattr(f"valetkey_broker.adapters.azure.container_pages.{bound}", 10)
    storage = Storage({"": page(["a", "b"], "1"), **{str(n): page(["a", "b"], str(n + 1)) for n in range(1, 20)}})
    with pytest.raises(ValueError, match="too many"):
        await listed(storage)
    assert len(storage.asked) <= 10
