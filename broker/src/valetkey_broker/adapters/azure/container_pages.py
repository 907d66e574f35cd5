"""Listings of containers, read as they arrive: a page of 5,000 never holds up the event loop.

azure-storage-blob asks, logs in and goes from page to page; but it makes an object of each container with all its
properties, at once, which takes most of a second of processor time for a page. So the transport reads the names out
of a page, slice by slice, and hands on what the SDK needs to go on: the marker of the next page.
"""

import time
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

from azure.core.pipeline.transport import AsyncHttpResponse, AsyncHttpTransport
from azure.core.utils import case_insensitive_dict

from valetkey_broker.adapters.azure.transport import EndlessListError, WrappingTransport
from valetkey_broker.concurrency.background_share import BackgroundWork

# So much of a page is read before the others are let in: some 30 containers as Azure describes them, and never more
# than 500 of the shortest that there can be.
_SLICE_BYTES = 16 * 1024
# Azure sends 5,000 containers a page, of under a kilobyte each.
_MOST_PAGE_BYTES = 16 * 1024 * 1024
_MOST_UNREAD_BYTES = 256 * 1024
_MOST_PAGES = 1_000
_MOST_NAMES = 250_000
# Names have up to 63 characters, markers a path more; what is longer is none.
_MOST_TEXT = 4096
_OK = 200
_NAME = ["EnumerationResults", "Containers", "Container", "Name"]
_MARKER = ["EnumerationResults", "NextMarker"]


class PageReader:
    """Takes a page of a listing in pieces. `names` are the containers' so far, `marker` leads to the next page.

    Every method raises ValueError for what is no page of a listing, or not one that can be trusted.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.marker = ""
        self._path: list[str] = []
        self._text: list[str] | None = None
        self._bytes = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        # Listings have no document type, and without one there are no entities that grow, or that name files.
        self._parser.StartDoctypeDeclHandler = _refuse_doctype

    def feed(self, data: bytes) -> None:
        """Reads on."""
        self._bytes += len(data)
        if self._bytes > _MOST_PAGE_BYTES:
            raise ValueError("a page of the listing is too large")
        self._parse(data, last=False)
        # expat begins anew at the start of what is not complete yet, so one endless tag or comment would cost the
        # square of its length.
        if self._bytes - max(self._parser.CurrentByteIndex, 0) > _MOST_UNREAD_BYTES:
            raise ValueError("a tag or comment of the listing is too large")

    def close(self) -> None:
        """Makes sure that the page is whole."""
        self._parse(b"", last=True)

    def _parse(self, data: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError:
            raise ValueError("the listing is not XML") from None

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        if not self._path and name != _NAME[0]:
            raise ValueError("the answer is not a listing")
        if len(self._path) >= len(_NAME) * 4:
            raise ValueError("the listing is nested too deeply")
        self._path.append(name)
        self._text = [] if self._path in (_NAME, _MARKER) else None

    def _characters(self, text: str) -> None:
        if self._text is None:
            return
        self._text.append(text)
        if sum(map(len, self._text)) > _MOST_TEXT:
            raise ValueError("a name in the listing is too long")

    def _end(self, _name: str) -> None:
        if self._text is not None:
            text = "".join(self._text)
            if self._path == _MARKER:
                self.marker = text
            else:
                self.names.append(text)
        self._text = None
        self._path.pop()


class ListingTransport(WrappingTransport):
    """A transport for one listing. `names` gathers what its pages hold."""

    def __init__(self, inner: AsyncHttpTransport[Any, Any]) -> None:
        super().__init__(inner)
        self.names: list[str] = []
        self._markers: set[str] = set()
        self._work = BackgroundWork()

    async def send(self, request: Any, **config: Any) -> Any:
        """Sends `request`, and reads the answer if it is a page.

        Raises ValueError for a page that cannot be trusted, and for listings without an end.
        """
        response = await self._inner.send(request, **{**config, "stream": True})
        if response.status_code != _OK:
            await response.read()
            return response
        page = PageReader()
        async for chunk in response.iter_bytes():
            # Unpacked, a chunk may be large.
            for start in range(0, len(chunk), _SLICE_BYTES):
                began = time.perf_counter()
                page.feed(chunk[start : start + _SLICE_BYTES])
                await self._work.let_others_in(began)
        page.close()
        self._take(page)
        return _Rest(response, page.marker)

    def _take(self, page: PageReader) -> None:
        if page.marker in self._markers:
            raise EndlessListError("the listing leads back to a page that was there before")
        if page.marker:
            self._markers.add(page.marker)
        self.names += page.names
        if len(self._markers) >= _MOST_PAGES or len(self.names) > _MOST_NAMES:
            raise EndlessListError("the listing has too many pages or containers")


class _Rest(AsyncHttpResponse):
    """What is left of a page for the SDK."""

    def __init__(self, response: Any, marker: str) -> None:
        super().__init__(response.request, None)
        self.status_code = response.status_code
        self.headers = case_insensitive_dict(response.headers)
        self.headers["Content-Type"] = "application/xml"  # The SDK looks here and there.
        self.reason = response.reason
        self.content_type = "application/xml"
        self._body = (
            f"<EnumerationResults><Containers /><NextMarker>{escape(marker)}</NextMarker></EnumerationResults>"
        ).encode()

    def body(self) -> bytes:
        """Returns a page without containers."""
        return self._body


def _refuse_doctype(*_declaration: object) -> None:
    raise ValueError("the listing declares a document type")
