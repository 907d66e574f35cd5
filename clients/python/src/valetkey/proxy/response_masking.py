"""Keeps signatures out of what comes back: storage repeats what it was asked with, in headers, lists and errors.

What is masked keeps its length, so that what goes by length (Content-Length, ranges) stays true.
"""

import re
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, quote
from xml.sax.saxutils import escape

from multidict import CIMultiDict

_OF_THE_CONNECTION = ("Connection", "Keep-Alive", "Transfer-Encoding", "Trailer", "Upgrade", "Proxy-Authenticate")
# As a parameter of a URL, which may itself stand escaped in another or in XML.
_PARAMETER = re.compile(rb"(?i)((?:^|[?&;]|%3f|%26)sig(?:=|%3d))([^&\s\"'<>]+)")
# No signature is longer, however it is escaped.
_LONGEST = 256


class Mask:
    """Masks signatures: those that it is told of, wherever they stand, and what a URL has as one."""

    def __init__(self) -> None:
        self._known: list[bytes] = []

    def add(self, sas: str) -> None:
        """Tells it of a token."""
        signature = dict(parse_qsl(sas)).get("sig", "")
        shapes = {signature, quote(signature, safe=""), escape(signature), signature.replace("+", " ")}
        shapes |= {shape.lower() for shape in shapes if "%" in shape}
        self._known += [shape.encode() for shape in shapes if shape]

    def text(self, text: str) -> str:
        """Returns a header's value without signatures."""
        return self.data(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def data(self, data: bytes) -> bytes:
        """Returns a body without signatures, as long as it was."""
        for known in self._known:
            data = data.replace(known, b"x" * len(known))
        return _PARAMETER.sub(lambda match: match[1] + b"x" * len(match[2]), data)

    def headers(self, headers: "CIMultiDict[str]") -> "CIMultiDict[str]":
        """Returns an answer's headers as the tool gets them."""
        kept = CIMultiDict((name, self.text(value)) for name, value in headers.items())
        for name in _OF_THE_CONNECTION:
            kept.popall(name, None)
        return kept

    async def stream(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yields a body without signatures; one that two chunks share is found as well."""
        held = b""
        async for chunk in chunks:
            masked = self.data(held + chunk)
            # What is held is looked at again with what follows: a part of a signature may stand at its end.
            cut = max(0, len(masked) - 2 * _LONGEST)
            if cut:
                yield masked[:cut]
            held = masked[cut:]
        if held:
            yield self.data(held)
