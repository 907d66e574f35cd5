"""Files that others read while they are written anew: they see the old one whole, or the new one whole."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from valetkey.errors import ValetKeyError

# What is left of a write that was killed stands under this name, and goes with the next one.
_BESIDE = ".{}.valetkey-new"


def write_atomically(path: Path, text: str, *, mode: int, gid: int | None = None) -> None:
    """Writes a file beside the old one, brings it to the disk, and puts it in its place.

    Raises a ValetKeyError where that fails; the file of before stays then. A symbolic link is refused: what it leads to
    would stay as it is, and whoever reads by another name would never see a fresh token.
    """
    try:
        _check(path)
        _write(path, text.encode(), mode, gid)
    except OSError as error:
        raise ValetKeyError(f"{path}: cannot be written: {_why(error, path)}") from None


def remove(path: Path) -> None:
    """Removes a file, and what a write that was killed has left beside it. Raises a ValetKeyError where it stays."""
    try:
        for each in (path, _beside(path)):
            with suppress(FileNotFoundError, NotADirectoryError):
                if not each.is_dir() or each.is_symlink():
                    each.unlink()
    except OSError as error:
        raise ValetKeyError(f"{path}: cannot be removed: {_why(error, path)}") from None


def _beside(path: Path) -> Path:
    return path.with_name(_BESIDE.format(path.name))


def _check(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(kind):
        what = "a symbolic link" if stat.S_ISLNK(kind) else "a directory" if stat.S_ISDIR(kind) else "no plain file"
        raise ValetKeyError(f"{path}: cannot be written: it is {what}; expected a file, or nothing yet")


def _write(path: Path, content: bytes, mode: int, gid: int | None) -> None:
    beside = _beside(path)
    with suppress(FileNotFoundError):
        beside.unlink()
    # Never what somebody else has put there meanwhile, nor what a link of theirs leads to.
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(handle, view) :]
            if gid is not None:
                os.fchown(handle, -1, gid)
            os.fchmod(handle, mode)
            os.fsync(handle)
        finally:
            os.close(handle)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Some file systems cannot, and the file itself is on the disk.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _why(error: OSError, path: Path) -> str:
    said = error.strerror or type(error).__name__
    if error.errno == errno.ENOENT:
        return f"there is no folder {path.parent}"
    if error.errno == errno.EPERM:
        return f"{said}; a group can be given by its members and by root only"
    return said
