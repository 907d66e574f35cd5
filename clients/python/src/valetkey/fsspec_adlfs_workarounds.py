"""What adlfs does otherwise than file systems of fsspec are to, made right for `valetkey.fsspec`."""

import errno
import os
from http import HTTPStatus
from typing import Any, cast

from adlfs import AzureBlobFileSystem
from azure.core.exceptions import HttpResponseError
from fsspec.asyn import sync_wrapper

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

    # adlfs binds its own coroutines to these names as its class is made.
    pipe_file = sync_wrapper(_pipe_file)
    get_file = sync_wrapper(_get_file)
