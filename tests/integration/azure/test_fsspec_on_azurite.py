"""`valetkey.fsspec` against the real Azurite: blobs that others write meanwhile, and answers that are lost."""

import asyncio
import errno
import itertools
import threading
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from azure.core.exceptions import HttpResponseError, ServiceRequestError

from support.azure_stack import AzureStack
from support.azurite_files import FOLDER
from valetkey import fsspec_files
from valetkey.fsspec import FileChangedError, ValetKeyFileSystem

PIECE = 64 * 1024
PATH = f"{FOLDER}/checkpoint.bin"
LOG = f"{FOLDER}/log.txt"


def _appends(request: web.Request) -> bool:
    return request.query.get("comp") == "appendblock"


def _creates(request: web.Request) -> bool:
    return request.method == "PUT" and "comp" not in request.query


async def test_an_open_file_is_of_one_version(files: ValetKeyFileSystem, azure: AzureStack) -> None:
    """Protects checkpoints under a fixed name: half of one and half of the next was never written by anybody."""

    def read() -> None:
        files.pipe_file(PATH, b"1" * 8 * PIECE)
        before = azure.proxy.seen.total()
        with files.open(PATH, "rb", block_size=PIECE, cache_type="none") as file:
            assert file.read(PIECE) == b"1" * PIECE
            assert file.read(PIECE) == b"1" * PIECE
            # One to open it, one for each range: knowing the version costs no request.
            assert azure.proxy.seen.total() == before + 3
            files.pipe_file(PATH, b"2" * 8 * PIECE)
            with pytest.raises(FileChangedError, match="expected to open it again") as told:
                file.read(PIECE)
        assert (told.value.filename, told.value.errno) == (PATH, errno.ESTALE)
        with files.open(PATH, "rb", block_size=PIECE) as again:
            assert again.read() == b"2" * 8 * PIECE

    await asyncio.to_thread(read)


async def test_a_file_has_the_size_that_was_told(files: ValetKeyFileSystem) -> None:
    """Protects readers of a blob that grew since it was listed or opened: its first half is no whole."""

    def read() -> None:
        for size in (8 * PIECE, PIECE):
            files.pipe_file(PATH, b"1" * 4 * PIECE)
            files.ls(FOLDER)  # which fsspec keeps, with the size
            _by_another(files, b"2" * size)
            with files.open(PATH, "rb") as file:
                file.seek(3 * PIECE)
                with pytest.raises(FileChangedError):
                    file.read()
            assert files.cat_file(PATH) == b"2" * size
            with files.open(PATH, "rb") as file:
                assert file.read() == b"2" * size

    await asyncio.to_thread(read)


async def test_a_blob_as_large_as_the_one_before_is_read(files: ValetKeyFileSystem) -> None:
    """Protects jobs that read a small state file again and again, in a folder that they listed: nothing was mixed."""

    def read() -> None:
        files.pipe_file(PATH, b"step 1")
        files.ls(FOLDER)
        for step in (b"step 2", b"step 3"):
            _by_another(files, step)
            with files.open(PATH, "rb") as file:
                assert file.read() == step

    await asyncio.to_thread(read)


async def test_a_file_that_goes_while_it_is_read(files: ValetKeyFileSystem) -> None:
    """Protects readers that know OSError, as of a disk, and nothing of Azure's library."""

    def read() -> None:
        files.pipe_file(PATH, b"1" * 2 * PIECE)
        with files.open(PATH, "rb", block_size=PIECE, cache_type="none") as file:
            file.read(PIECE)
            files.rm_file(PATH)
            with pytest.raises(OSError, match="removed while it was read"):
                file.read(PIECE)
            with pytest.raises(FileNotFoundError):
                files.open(PATH, "rb")

    await asyncio.to_thread(read)


async def test_a_log_is_read_while_it_grows(files: ValetKeyFileSystem) -> None:
    """Protects whoever looks at the log of a running job: what was there as it was opened is read, and no error."""

    def read() -> None:
        lines = [f"step {number:06}\n".encode() for number in range(4)]
        with files.open(LOG, "ab") as log:
            log.write(lines[0] + lines[1])
        with files.open(LOG, "rb", block_size=len(lines[0]), cache_type="none") as file:
            for line in lines[:2]:
                with files.open(LOG, "ab") as log:
                    log.write(lines[2])
                assert file.read(len(line)) == line
            # Whatever has its place by then is another one.
            files.rm_file(LOG)
            time.sleep(1.1)  # the dates of storage have whole seconds
            with files.open(LOG, "ab") as log:
                log.write(lines[3] * 4)
            file.seek(0)
            with pytest.raises(FileChangedError):
                file.read(len(lines[0]))

    await asyncio.to_thread(read)


def _by_another(files: ValetKeyFileSystem, content: bytes) -> None:
    """Writes the checkpoint as somebody else does, of whom this file system knows nothing."""
    kept = dict(files.dircache._cache)
    files.pipe_file(PATH, content)
    files.dircache._cache.update(kept)


async def test_of_two_writers_the_first_to_end_wins(files: ValetKeyFileSystem) -> None:
    """Protects a checkpoint from the worker that was given up: whole is one of them, and the other hears why."""

    def write() -> None:
        for more in (b"", b"1" * 10):  # adlfs ends with what is left in another way than with nothing
            late = files.open(PATH, "wb", block_size=PIECE)
            late.write(b"1" * PIECE)
            with files.open(PATH, "wb", block_size=PIECE) as file:
                file.write(b"2" * 2 * PIECE)
            late.write(more)
            with pytest.raises(FileChangedError, match="another wrote it meanwhile") as told:
                late.close()
            assert told.value.filename == PATH
            assert files.cat_file(PATH) == b"2" * 2 * PIECE

    await asyncio.to_thread(write)


async def test_what_is_appended_is_there_once(files: ValetKeyFileSystem, azure: AzureStack) -> None:
    """Protects logs and metrics from a line that is there twice, because its answer was lost and it was sent again."""

    def append(*lines: bytes) -> None:
        for line in lines:
            with files.open(LOG, "ab") as file:
                file.write(line)

    azure.proxy.lose_answers(_creates, _appends)
    await asyncio.to_thread(append, b"step 1\n")
    # Lost twice over: by aiohttp, which sends it again itself, and by Azure's library.
    azure.proxy.lose_answers(_appends, _appends)
    await asyncio.to_thread(append, b"step 2\n", b"step 2\n", b"step 3\n")
    assert await asyncio.to_thread(files.cat_file, LOG) == b"step 1\nstep 2\nstep 2\nstep 3\n"
    assert not azure.proxy._losing


async def test_older_releases_append_as_well(files: ValetKeyFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects who has an adlfs before 2026.8, without types of content, or an aiohttp that sends a body once only."""
    bodies = []

    async def count(_: object, request: Any, handler: Any) -> Any:
        bodies.append(request.body)
        return await handler(request)

    def append() -> None:
        with files.open(LOG, "ab") as file:
            del file._content_settings
            file.write(b"step 1\n")

    monkeypatch.setattr(fsspec_files.ValetKeyFile, "_count", count)
    await asyncio.to_thread(append)
    assert await asyncio.to_thread(files.cat_file, LOG) == b"step 1\n"
    assert [type(body) for body in bodies] == [aiohttp.BytesPayload]


async def test_a_log_that_another_made_first_is_kept(files: ValetKeyFileSystem, azure: AzureStack) -> None:
    """Protects the lines of whoever made the blob while this one was about to."""

    def append() -> None:
        files.open(LOG, "ab").close()
        for line in (b"theirs\n", b"ours\n"):
            azure.proxy.refuse(lambda request: request.method == "HEAD", 404, "BlobNotFound", times=1)
            with files.open(LOG, "ab") as file:
                file.write(line)

    await asyncio.to_thread(append)
    assert await asyncio.to_thread(files.cat_file, LOG) == b"theirs\nours\n"


async def test_a_flush_that_failed_is_gone_on_with(
    files: ValetKeyFileSystem, azure: AzureStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects a log whose writer tries again after an error: what is there stays, what is missing comes once."""
    monkeypatch.setattr(fsspec_files, "_APPENDED_AT_ONCE", 4)

    def append() -> None:
        with files.open(LOG, "ab", block_size=6) as file:
            appends = itertools.count()
            azure.proxy.refuse(lambda request: _appends(request) and next(appends) > 0, 400, "InvalidInput")
            with pytest.raises(HttpResponseError, match="InvalidInput"):
                file.write(b"step 1\n")
            azure.proxy.heal()
            # The answer to the last try of them all is lost: whether the block is there, nobody knows.
            azure.proxy.lose_answers(*[_appends] * 8)
            with pytest.raises(ServiceRequestError):
                file.write(b"step 2\n")
            azure.proxy.heal()

    await asyncio.to_thread(append)
    assert await asyncio.to_thread(files.cat_file, LOG) == b"step 1\nstep 2\n"


async def test_several_append_at_a_time(files: ValetKeyFileSystem) -> None:
    """Protects lines of several writers that are alike and come at once: none is taken for another's."""
    together = threading.Barrier(4)

    def append() -> None:
        together.wait()
        for _ in range(5):
            with files.open(LOG, "ab") as file:
                file.write(b"ok\n")

    await asyncio.gather(*(asyncio.to_thread(append) for _ in range(4)))
    assert await asyncio.to_thread(files.cat_file, LOG) == b"ok\n" * 20
