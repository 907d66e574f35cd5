"""Values made of files that others rotate: read anew when a file changes, the last good ones kept meanwhile."""

import contextlib
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from valetkey_broker.errors import ConfigurationError

T = TypeVar("T")

CHECK_SECONDS = 1.0
"""How often a file is looked at, at most: a change counts after this long."""
_MOST_BYTES = 4 * 1024 * 1024
# A file system's clock moves in steps, of up to 2 s on old ones. A file that was read within one step of its last
# change may change once more without looking any different.
_SETTLED_NS = 3 * 10**9

_Stamp = tuple[int, int, int, int]


class WatchedFiles(Generic[T]):
    """The value that `make` makes of the content of some files, by the settings that name them.

    For certificates, tokens and passwords that something outside rotates: rewritten in place, renamed over, or swapped
    behind a symbolic link, as Kubernetes does with mounted secrets. Several files belong together: a half-changed set
    that `make` does not take leaves the old value in use.

    The value is another object only where the content is another one, so that `is` tells whether something changed.
    May be asked from any thread.
    """

    def __init__(
        self,
        what: str,
        files: Mapping[str, Path],
        make: Callable[[Mapping[str, bytes]], T],
        *,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        """Nothing is read yet. `what` names the value in the log, such as "the CAs of Vault".

        `make` gets the contents under the names of `files`. It raises ConfigurationError, whose text is logged and
        must quote nothing of a file, where they are not what they should be.
        """
        self._what = what
        self._files = dict(files)
        self._make = make
        self._check_seconds = check_seconds
        self._lock = threading.Lock()
        self._checked_at = -check_seconds
        self._stamps: tuple[_Stamp | None, ...] | None = None
        self._digest = b""
        self._value: T | None = None
        self._error: ConfigurationError | None = None
        self._log = structlog.get_logger()

    def current(self) -> T:
        """Returns the value as of at most a second ago; while a file is unusable, the last good one.

        Raises ConfigurationError where there has not been a good one yet.
        """
        if self._value is None or time.monotonic() - self._checked_at >= self._check_seconds:
            with self._lock:
                if self._value is None or time.monotonic() - self._checked_at >= self._check_seconds:
                    self._look()
                    self._checked_at = time.monotonic()
        if self._value is None:
            raise self._error or ConfigurationError(f"{self._what}: not read yet")
        return self._value

    @property
    def unusable(self) -> bool:
        """Whether the files, as they were last looked at, cannot be used."""
        return self._error is not None

    def _look(self) -> None:
        # Before the content: what changes in between is seen the next time.
        stamps = tuple(_stamp(path) for path in self._files.values())
        # What could not be used is tried again each time: permissions on the way to it leave no stamp.
        if stamps == self._stamps and self._error is None:
            return
        try:
            contents = {setting: _content(setting, path) for setting, path in self._files.items()}
            digest = _digest(contents)
            if self._value is None or digest != self._digest:
                value = self._make(contents)
                if self._value is not None:
                    self._log.info("a changed file is in use", what=self._what, files=self._names())
                self._value, self._digest = value, digest
        except ConfigurationError as error:
            self._failed(error)
        else:
            if self._error is not None:
                self._log.info("the files can be used again", what=self._what, files=self._names())
            self._error = None
        self._stamps = stamps if _settled(stamps) else None

    def _failed(self, error: ConfigurationError) -> None:
        if self._value is not None and str(error) != str(self._error):
            self._log.error("a changed file cannot be used; the old content stays", what=self._what, error=str(error))
        self._error = error

    def _names(self) -> list[str]:
        return [f"{setting}: {path}" for setting, path in self._files.items()]


def _content(setting: str, path: Path) -> bytes:
    try:
        # Never waits: a named pipe, whoever put it there, would hold up everybody who asks for the value.
        with open(path, "rb", opener=_without_waiting) as file:
            if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                raise ConfigurationError(f"{setting}: {path}: is a pipe; expected a file")
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{setting}: {path}: cannot be read: {error.strerror}") from None
    if len(content) > _MOST_BYTES:
        raise ConfigurationError(f"{setting}: {path}: is over {_MOST_BYTES} bytes")
    return content


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _stamp(path: Path) -> _Stamp | None:
    with contextlib.suppress(OSError):
        found = path.stat()
        # The time of the inode's change too: tools that copy or synchronise set the other one to what it was.
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
    return None


def _settled(stamps: tuple[_Stamp | None, ...]) -> bool:
    newest = max((max(stamp[:2]) for stamp in stamps if stamp is not None), default=0)
    return newest < time.time_ns() - _SETTLED_NS


def _digest(contents: Mapping[str, bytes]) -> bytes:
    # A digest, not the content: what the value is made of may be secret, and need not be kept twice.
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents.values())).digest()
