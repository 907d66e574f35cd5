"""Bodies of requests on their way: sent again as a whole, or not at all."""

from typing import cast

import pytest
from aiohttp import StreamReader
from aiohttp.abc import AbstractStreamWriter

from valetkey.proxy.bodies import KEPT_BYTES, Body, Budget

MIB = 1024 * 1024


class Tool:
    """Sends a body, a MiB at a time."""

    def __init__(self, content: bytes) -> None:
        self.chunks = [content[start : start + MIB] for start in range(0, len(content), MIB)]

    async def readany(self) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""


class Storage:
    """Takes so many bytes, and then the connection breaks off."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = b""

    async def write(self, chunk: bytes) -> None:
        if len(self.taken) + len(chunk) > self.most:
            raise ConnectionResetError
        self.taken += chunk


async def sent(body: Body, most: int) -> bytes:
    """Returns what storage has of a body."""
    storage = Storage(most)
    await body.write(cast("AbstractStreamWriter", storage))
    return storage.taken


@pytest.mark.parametrize("told", [True, False])
async def test_what_broke_off_is_sent_again_whole_or_not_at_all(told: bool) -> None:
    """Protects uploads in chunks: sent on from its middle, one would be a blob without its beginning, and a success."""
    for size, again in ((4 * MIB, True), (KEPT_BYTES + 4 * MIB, False)):
        content = bytes(range(256)) * (size // 256)
        body = Body(cast("StreamReader", Tool(content)), size if told else None, Budget())
        with pytest.raises(ConnectionResetError):
            await sent(body, size - 2 * MIB)
        if again:
            assert await sent(body, size) == content
        else:
            with pytest.raises(OSError, match="cannot be sent again"):
                await sent(body, size)
