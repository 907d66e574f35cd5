"""Bodies of requests on their way through: read as fast as storage takes them, and kept as long as they are small."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from valetkey.proxy.refusals import Refusal

# As large as the blocks that tools send by default are at most.
KEPT_BYTES = 8 * 1024 * 1024
KEPT_BYTES_TOGETHER = 64 * 1024 * 1024


class Budget:
    """Bytes that all bodies together may keep."""

    def __init__(self, size: int = KEPT_BYTES_TOGETHER) -> None:
        self.left = size

    def take(self, size: int) -> bool:
        """Takes so many bytes; tells whether there were as many."""
        if size > self.left:
            return False
        self.left -= size
        return True


class Body(Payload):
    """A body that can be sent a second time if it is small; larger ones stream through once."""

    def __init__(self, stream: StreamReader, length: int | None, budget: Budget) -> None:
        super().__init__(stream, content_type="application/octet-stream")
        self._stream = stream
        self._length = length
        self._budget = budget
        self._chunks: list[bytes] = []
        self._taken = 0
        self._begun = False
        self._whole = length is None or length <= KEPT_BYTES

    @property
    def size(self) -> int | None:
        """Bytes; None where only its end will tell."""
        return self._length

    @property
    def consumed(self) -> bool:
        """Whether it cannot be sent again."""
        return not self._whole

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Is asked of payloads in general, and never of this one."""
        raise TypeError(f"a body on its way is not decoded ({encoding}, {errors})")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Sends it: what is kept, then what is still to come. Raises OSError where its beginning is gone.

        aiohttp (to 3.14.3) sends a request again whose connection broke off, whatever `consumed` says: from its middle,
        which would be a blob without its beginning.
        """
        if self._begun and self.consumed:
            raise OSError(errno.EIO, "the body has gone through, and cannot be sent again")
        self._begun = True
        for chunk in tuple(self._chunks):
            await writer.write(chunk)
        while chunk := await self._stream.readany():
            self._keep(chunk)
            await writer.write(chunk)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Sends it; its length is what the request said, which the server has held it to."""
        _ = content_length
        await self.write(writer)

    def drop(self) -> None:
        """Gives back what it keeps."""
        self._whole = False
        self._budget.left += self._taken
        self._taken = 0
        self._chunks.clear()

    def _keep(self, chunk: bytes) -> None:
        if not self._whole:
            return
        if self._taken + len(chunk) > KEPT_BYTES or not self._budget.take(len(chunk)):
            self.drop()
            return
        self._taken += len(chunk)
        self._chunks.append(chunk)


@asynccontextmanager
async def whole_body(stream: StreamReader, most: int, budget: Budget) -> AsyncIterator[bytes]:
    """Reads a batch, and holds what it takes of the budget while the block runs. `most` is in bytes.

    What is signed of it is another one as large, so it counts twice. Raises Refusal for one that is larger than `most`,
    or than what is left of the budget.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in stream.iter_any():
            if size + len(chunk) > most:
                raise Refusal(413, "RequestBodyTooLarge", f"The batch is larger than {most} bytes.")
            if not budget.take(2 * len(chunk)):
                raise Refusal(503, "ServerBusy", "Other requests take all the memory for now; send it again.")
            size += len(chunk)
            chunks.append(chunk)
        whole = b"".join(chunks)
        chunks.clear()
        yield whole
    finally:
        budget.left += 2 * size
