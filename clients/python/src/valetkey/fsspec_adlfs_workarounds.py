"""What adlfs does otherwise than file systems of fsspec are to, made right for `valetkey.fsspec`."""

import contextlib
import errno
import os
from functools import partial
from glob import has_magic
from http import HTTPStatus
from typing import Any, cast

from adlfs import AzureBlobFileSystem
from azure.core.exceptions import HttpResponseError
from fsspec.asyn import AsyncFileSystem, sync_wrapper

from valetkey.errors import InvalidArgumentError
from valetkey.fsspec_files import of_one_version


class Corrections(AzureBlobFileSystem):  # type: ignore[misc] # adlfs has no types
    """Reads ranges as slices are read, keeps listings true to what is written here, and takes names as they are."""

    def split_path(self, path: str, delimiter: str = "/", **more: Any) -> tuple[str, str, str | None]:
        """Returns container, name and version of a path.

        Raises InvalidArgumentError for a name that leads out of its directory.
        """
        container, name, version = super().split_path(path, delimiter, **more)
        if ".." in name.split("/"):
            raise InvalidArgumentError(
                f"{container}/{name}: .. is no directory of storage, and what sends requests makes another name of it; "
                "expected a name without it"
            )
        return container, name, version

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forgets the listings that a path may be in, of each directory above it: what is written may be new in all."""
        if path is None:
            super().invalidate_cache()
            return
        bare = self._strip_protocol(path)
        while bare:
            super().invalidate_cache(bare)
            bare = bare.rpartition("/")[0]

    async def _pipe_file(self, path: str, value: Any, *arguments: Any, **more: Any) -> Any:
        written = await super()._pipe_file(path, value, *arguments, **more)
        self.invalidate_cache(path)  # adlfs forgets another listing than that.
        return written

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        """Returns a range of a blob, as a slice: negative bounds count from the end, beyond which there is nothing."""
        if (start or 0) < 0 or (end or 0) < 0 or (end is not None and end <= (start or 0)):
            info = await self._info(path, refresh=True)
            if info["type"] == "directory":
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            start, end, _ = slice(start, end).indices(info["size"])
            if end <= start:
                return b""
        try:
            with of_one_version(path):
                return cast("bytes", await super()._cat_file(path, start, end, **more))
        except HttpResponseError as error:
            if error.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            return b""

    async def _get_file(self, rpath: str, *arguments: Any, **more: Any) -> None:
        with of_one_version(rpath):
            await super()._get_file(rpath, *arguments, **more)

    async def _expand_path(
        self,
        path: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        skip_noexist: bool = True,
        *,
        assume_literal: bool = False,
    ) -> list[str]:
        """Takes the name of a blob that there is for that blob, and a pattern for whatever it fits.

        So `rm` of run?1 leaves run-1, unlike adlfs's, and of runs/* removes what is there, which adlfs passes over.
        """
        of_fsspec = partial(AsyncFileSystem._expand_path, self, recursive=recursive, maxdepth=maxdepth)  # noqa: SLF001
        if assume_literal:
            return cast("list[str]", await of_fsspec(path, assume_literal=True))
        given = [path] if isinstance(path, str) else list(path)
        patterns = [each for each in given if has_magic(each)]
        named = [each for each in patterns if await self._isfile(each)]
        found = set(self._strip_protocol(named))
        if others := [each for each in given if each not in patterns]:
            found.update(await super()._expand_path(others, recursive, maxdepth, skip_noexist))
        if fitting := [each for each in patterns if each not in named]:
            with contextlib.suppress(FileNotFoundError):
                found.update(await of_fsspec(fitting))
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return sorted(found)

    # adlfs binds its own coroutines to these names as its class is made.
    pipe_file = sync_wrapper(_pipe_file)
    get_file = sync_wrapper(_get_file)
