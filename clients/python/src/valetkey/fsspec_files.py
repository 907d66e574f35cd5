"""Open files of `valetkey.fsspec`: what is read is of one version of a blob, what is appended is there once."""

import asyncio
import errno
import io
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from adlfs.spec import AzureBlobFile
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobType
from azure.storage.blob.aio import BlobClient
from fsspec.asyn import sync_wrapper

_STANDS_ELSEWHERE, _BLOCKS_GONE = "AppendPositionConditionNotMet", "InvalidBlockList"
# What one Append Block takes in every version of storage.
_APPENDED_AT_ONCE = 4 * 1024 * 1024
# Between two tries of those who append to one blob at a time, so that they do not meet again and again.
_APART_SECONDS = 0.05


class FileChangedError(OSError):
    """A blob was written anew while it was read, or written; opened again, it is the new one."""


@contextmanager
def of_one_version(path: str) -> Iterator[None]:
    """Has storage's word that a blob is no longer the one that was begun with told as FileChangedError."""
    try:
        yield
    except ResourceModifiedError as error:
        raise changed(path) from error


def changed(path: str) -> FileChangedError:
    """Returns what is told of a blob that is another one by now."""
    return FileChangedError(errno.ESTALE, "written anew or removed while it was read; expected to open it again", path)


class ValetKeyFile(AzureBlobFile):  # type: ignore[misc] # adlfs has no types
    """A file of adlfs that says with each range which version it reads, and with each block where that is to stand."""

    _version: Any = None  # that of the first read
    _etag: str | None = None  # what each range has to be of
    _end = 0  # where the next block is to stand
    _appended = 0  # how much of the buffer is in storage
    _unsure = False  # whether a block may be there that nobody has confirmed
    _attempts = 0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if self.mode == "rb" and self.size is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path)

    async def _async_fetch_range(self, start: int, end: int | None = None, **_: Any) -> bytes:
        """Returns a range of the blob. Raises FileChangedError where it is another one than at the first read.

        It may have been another one before that, and than what a listing says that is kept: nothing was read of that,
        so it counts as long as the size is right, which was told already. Who reads a log reads what was there as it
        was opened, whatever is appended meanwhile.
        """
        length = None if end is None else min(end, self.size) - start
        pinned = {"etag": self._etag, "match_condition": MatchConditions.IfNotModified} if self._etag else {}
        try:
            with of_one_version(self.path):
                stream = await self.container_client.download_blob(
                    self.blob,
                    offset=start,
                    length=length,
                    version_id=self.version_id,
                    max_concurrency=self.fs.max_concurrency or 1,
                    **pinned,
                )
                data = await stream.readall()
            # Caches that read ahead in a thread of their own may have two first reads.
            if self._version not in (None, _version(stream)) or not self._has_its_size(stream):
                raise changed(self.path)
        except FileChangedError:
            self._forget_listings()
            raise
        except ResourceNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "removed while it was read", self.path) from error
        except HttpResponseError as error:
            if error.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            self._forget_listings()
            raise changed(self.path) from error
        self._version = _version(stream)
        self._etag = None if _only_grows(stream.properties) else stream.properties.etag
        return bytes(data)

    def _has_its_size(self, stream: Any) -> bool:
        whole = int(stream.properties.content_range.rpartition("/")[2])
        return bool(whole >= self.size if _only_grows(stream.properties) else whole == self.size)

    def _forget_listings(self) -> None:
        """Has the file opened with its own size next time, not with that of before."""
        for path in (self.path, self.path.rpartition("/")[0]):
            self.fs.invalidate_cache(path)

    async def _async_initiate_upload(self, **more: Any) -> None:
        if self.mode == "ab":
            self._end = await self._length()
        else:
            await super()._async_initiate_upload(**more)

    async def _async_upload_chunk(self, final: bool = False, **more: Any) -> None:
        """Sends what is in the buffer; where that fails, another try goes on with the block that failed."""
        if self.mode != "ab":
            with self._of_one_writer():
                await super()._async_upload_chunk(final, **more)
            return
        data = memoryview(self.buffer.getvalue())
        while self._appended < len(data):
            block = bytes(data[self._appended : self._appended + _APPENDED_AT_ONCE])
            await self._append(block)
            self._appended += len(block)
        self._appended = 0

    @contextmanager
    def _of_one_writer(self) -> Iterator[None]:
        """Has it told in words that blocks are gone, which storage drops where another writer's blob is whole first."""
        try:
            yield
        except (HttpResponseError, RuntimeError) as error:  # The latter is adlfs's.
            said = error.__cause__ if isinstance(error, RuntimeError) else error
            if getattr(said, "error_code", "") != _BLOCKS_GONE:
                raise
            why = "another wrote it meanwhile, and theirs is there; expected to write it anew, if that is still wanted"
            raise FileChangedError(errno.ESTALE, why, self.path) from error

    async def _append(self, block: bytes) -> None:
        """Puts a block to the end of the blob, once.

        Where an answer is lost, the request is sent again, by aiohttp unseen and by Azure's library, and storage takes
        it for another block. So each says where it is to stand: if something stands there already, it is this block,
        or one of somebody else's, after which this one goes. Blocks of append blobs have neither ids nor a word on who
        wrote them, so where an answer is lost, somebody else's that is equal, byte by byte, is taken for this one.
        """
        while True:
            self._attempts = 0
            try:
                # Bytes, not a file: aiohttp (3.14.2) closes that with its first try, and waits for ever with the next.
                await self._blob().append_block(
                    block, length=len(block), appendpos_condition=self._end, middlewares=(self._count,)
                )
                break
            except ResourceNotFoundError:
                self._end = await self._length()
            except HttpResponseError as error:
                if getattr(error, "error_code", "") != _STANDS_ELSEWHERE:
                    self._unsure = True
                    raise
                # Of a block that went out once somebody else's is no wonder, though it may be just like it.
                if (self._unsure or self._attempts > 1) and await self._stands(block):
                    break
                self._unsure = False
                self._end = await self._length()
                await asyncio.sleep(random.uniform(0, _APART_SECONDS))  # noqa: S311 (no secret)
            except BaseException:
                self._unsure = True
                raise
        self._unsure = False
        self._end += len(block)

    async def _count(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Is asked by aiohttp for each attempt, its own included, which nothing else tells of."""
        self._attempts += 1
        return await handler(request)

    async def _stands(self, block: bytes) -> bool:
        """Tells whether a block is where it is to stand."""
        try:
            stream = await self._blob().download_blob(offset=self._end, length=len(block))
            return bool(await stream.readall() == block)
        except HttpResponseError as error:
            if error.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
                return False
            raise

    async def _length(self) -> int:
        """Returns how long the blob is; makes it where there is none, but none anew: another may have come first."""
        try:
            return await self._length_to_append_to()
        except ResourceNotFoundError:
            pass
        try:
            await self._blob().create_append_blob(
                metadata=self.metadata,
                content_settings=getattr(self, "_content_settings", None),  # known to adlfs since 2026.8
                match_condition=MatchConditions.IfMissing,
            )
        except ResourceExistsError:
            return await self._length_to_append_to()
        return 0

    async def _length_to_append_to(self) -> int:
        """Returns how long the blob is; raises io.UnsupportedOperation where storage appends to none of its type."""
        found = await self._blob().get_blob_properties()
        if not _only_grows(found):
            raise io.UnsupportedOperation(
                f"{self.path}: was written as a whole ({found.blob_type.value}), and storage appends only to what was "
                "begun by appending; expected to write it anew, or each time with mode 'ab'"
            )
        return int(found.size)

    def _blob(self) -> BlobClient:
        client: BlobClient = self.container_client.get_blob_client(self.blob)
        return client

    # fsspec calls these, to which adlfs binds its own coroutines.
    _fetch_range = sync_wrapper(_async_fetch_range)
    _initiate_upload = sync_wrapper(_async_initiate_upload)
    _upload_chunk = sync_wrapper(_async_upload_chunk)


def _only_grows(properties: Any) -> bool:
    """Tells whether what was read stays as it is for as long as the blob is there."""
    return bool(properties.blob_type == BlobType.APPENDBLOB)


def _version(stream: Any) -> Any:
    """Returns what all ranges of one version have in common: of what only grows, when it was made."""
    return stream.properties.creation_time if _only_grows(stream.properties) else stream.properties.etag
