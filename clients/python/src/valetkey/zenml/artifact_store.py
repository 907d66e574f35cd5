"""ZenML's file operations on a blob container, each with a token for no more than it needs."""

import functools
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import version
from typing import Any, TypeVar, cast

from azure.core.exceptions import HttpResponseError
from zenml.artifact_stores import BaseArtifactStore
from zenml.io.fileio import convert_to_str
from zenml.logger import get_logger

from valetkey.errors import BrokerUnreachableError, PermissionDeniedError, UnavailableError, ValetKeyError
from valetkey.fsspec import ValetKeyFileSystem, filesystem
from valetkey.zenml.broker_access import BrokerAccess
from valetkey.zenml.flavor import ValetKeyArtifactStoreConfig
from valetkey.zenml.store_path import SCHEMES, StorePath

# The very type that ZenML's base class looks for in signatures, to find which arguments are paths.
PathType = bytes | str
_Result = TypeVar("_Result")
_READ = ("read", "list")
_WRITE = (*_READ, "write")
_DELETE = (*_READ, "delete")
_MOVE = (*_WRITE, "delete")
_FORBIDDEN = 403
_PAUSE_SECONDS = 1.0
logger = get_logger(__name__)


def _while_a_step_fails(instead: Any) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Has an operation not replace an error that is being handled: what goes wrong becomes a warning, and `instead`.

    When a step fails, ZenML removes what the step has written before it lets the step's own error through; an error of
    that would be all that people see.
    """

    def decorate(operation: Callable[..., _Result]) -> Callable[..., _Result]:
        @functools.wraps(operation)
        def run(self: "ValetKeyArtifactStore", path: Any) -> _Result:
            failing = sys.exception() is not None
            try:
                return operation(self, path)
            except (ValetKeyError, HttpResponseError, OSError) as error:
                if not failing:
                    raise
                self._warn_once(error)
                return cast("_Result", instead)

        return run

    return decorate


class ValetKeyArtifactStore(BaseArtifactStore):  # type: ignore[misc] # ZenML is not there when types are checked
    """An artifact store whose tokens renew themselves.

    A step that only reads never has a token that writes; what a grant does not allow is refused by the broker when it
    is tried, in the broker's words.
    """

    _warned = False

    @property
    def config(self) -> ValetKeyArtifactStoreConfig:
        """What was registered."""
        return cast("ValetKeyArtifactStoreConfig", self._config)

    @property
    def requirements(self) -> set[str]:
        """What the images need that ZenML builds for steps: this, at least as new as here."""
        return {f"valetkey[zenml]>={version('valetkey')}"}

    def files(self, permissions: tuple[str, ...] = _READ) -> ValetKeyFileSystem:
        """Returns the container as a file system of fsspec that may do so much. Raises a ValetKeyError.

        Stores of the same container, way and identity share one, in all threads of a process.
        """
        with self._filesystem_lock:
            known = self.__dict__.setdefault("_file_systems", {})
            if permissions not in known:
                known[permissions] = self._connect(permissions)
            return cast("ValetKeyFileSystem", known[permissions])

    def _connect(self, permissions: tuple[str, ...]) -> ValetKeyFileSystem:
        connector = self.get_connector()
        # Unverified: the first token will tell, and costs the broker no listing.
        way: BrokerAccess = connector.connect(verify=False) if connector else BrokerAccess()
        config = self.config
        said = {
            "endpoint": config.endpoint,
            "ca_file": config.ca_file,
            "token_file": config.token_file,
            "connector": config.broker_connector,
        }
        way = replace(way, **{name: value for name, value in said.items() if value})
        # An API key is the environment's own affair: a file system travels as its arguments.
        arguments = {name: value for name, value in way.arguments().items() if value and name != "api_key"}
        return self._patiently(
            lambda: filesystem(
                self._root.container,
                permissions=permissions,
                connector=way.connector or None,
                storage_ca_file=config.storage_ca_file,
                use_listings_cache=False,
                **arguments,
            )
        )

    def _patiently(self, connect: Callable[[], ValetKeyFileSystem]) -> ValetKeyFileSystem:
        """Tries again while the broker is away: hours of training may hang on it."""
        deadline = time.monotonic() + self.config.patience_seconds
        while True:
            try:
                return connect()
            except (BrokerUnreachableError, UnavailableError) as error:
                if time.monotonic() >= deadline:
                    raise
                logger.warning("%s; trying again", error.message)
                time.sleep(_PAUSE_SECONDS)

    @property
    def _root(self) -> StorePath:
        return StorePath(self.path)

    def _bound(self, path: PathType) -> str:
        return self._root.check(convert_to_str(path))

    # No operation of fsspec's that reads its paths as patterns: a name with a * in it is a name.

    def open(self, path: PathType, mode: str = "r") -> Any:
        """Opens a file: as `r`, `w` or `a`, with or without `b`."""
        within = self._bound(path)
        return self.files(_READ if mode.startswith("r") and "+" not in mode else _WRITE).open(within, mode=mode)

    def copyfile(self, src: PathType, dst: PathType, overwrite: bool = False) -> None:
        """Copies a file; raises FileExistsError where there is one and `overwrite` is not given."""
        source, target = self._bound(src), self._free(dst, overwrite=overwrite)
        self.files(_WRITE).cp_file(source, target)

    def rename(self, src: PathType, dst: PathType, overwrite: bool = False) -> None:
        """Moves a file; raises FileExistsError where there is one and `overwrite` is not given."""
        source, target = self._bound(src), self._free(dst, overwrite=overwrite)
        files = self.files(_MOVE)
        files.cp_file(source, target)
        files.rm_file(source)

    def _free(self, path: PathType, *, overwrite: bool) -> str:
        within = self._bound(path)
        if not overwrite and self.files().exists(within):
            raise FileExistsError(f"{within} is there already; expected overwrite=True, or another name")
        return within

    def exists(self, path: PathType) -> bool:
        """Tells whether there is a file, or anything below a directory."""
        return bool(self.files().exists(self._bound(path)))

    @_while_a_step_fails(instead=False)
    def isdir(self, path: PathType) -> bool:
        """Tells whether there is anything below a directory."""
        return bool(self.files().isdir(self._bound(path)))

    def glob(self, pattern: PathType) -> list[PathType]:
        """Returns the paths that a pattern matches, in the pattern's scheme."""
        within = self._bound(pattern)
        return [self._scheme(within) + found for found in self.files().glob(within)]

    def listdir(self, path: PathType) -> list[PathType]:
        """Returns the names in a directory."""
        within = self._bound(path)
        return [entry["name"].rstrip("/").rpartition("/")[2] for entry in self.files().ls(within, detail=True)]

    def makedirs(self, path: PathType) -> None:
        """Does nothing: a directory is there once something is in it."""
        self._bound(path)

    def mkdir(self, path: PathType) -> None:
        """Does nothing, as makedirs."""
        self._bound(path)

    def remove(self, path: PathType) -> None:
        """Deletes a file."""
        self.files(_DELETE).rm_file(self._bound(path))

    @_while_a_step_fails(instead=None)
    def rmtree(self, path: PathType) -> None:
        """Deletes all that is below a directory."""
        within, files = self._bound(path), self.files(_DELETE)
        found = files.find(within, withdirs=True, detail=True)
        found[within] = files.info(within)
        # Folders are blobs only on accounts with a hierarchical namespace.
        names = [name for name, info in found.items() if info["type"] == "file" or "etag" in info]
        try:
            files.rm(names, expand_path=False)
        except RuntimeError as error:
            # adlfs says only that it failed, with the reason behind.
            if error.__cause__ is not None:
                raise error.__cause__ from None
            raise

    def stat(self, path: PathType) -> dict[str, Any]:
        """Returns what storage knows of a file."""
        return cast("dict[str, Any]", self.files().info(self._bound(path)))

    def size(self, path: PathType) -> int | None:
        """Returns how many bytes a file has."""
        return cast("int | None", self.files().info(self._bound(path)).get("size"))

    def walk(
        self,
        top: PathType,
        topdown: bool = True,
        onerror: Callable[..., None] | None = None,
    ) -> Iterable[tuple[PathType, list[PathType], list[PathType]]]:
        """Yields each directory from `top` on, with the names of the directories and the files in it."""
        within = self._bound(top)
        for directory, directories, names in self.files().walk(within, topdown=topdown, on_error=onerror or "omit"):
            yield self._scheme(within) + directory, directories, names

    def _scheme(self, path: str) -> str:
        return next(scheme for scheme in SCHEMES if path.startswith(scheme))

    def _warn_once(self, error: Exception) -> None:
        if self._warned:
            return
        self._warned = True
        wants = isinstance(error, PermissionDeniedError) or getattr(error, "status_code", 0) == _FORBIDDEN
        remedy = "a grant with the permission delete lets it" if wants else "remove it later"
        logger.warning(
            "What the failed step had written stays in the artifact store: %s; %s. The step's own error follows.",
            getattr(error, "message", error),
            remedy,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the file systems, which are made anew where the store arrives."""
        state = cast("dict[str, Any]", super().__getstate__())
        state.pop("_file_systems", None)
        return state
