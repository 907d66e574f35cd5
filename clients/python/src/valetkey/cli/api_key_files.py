"""Files that hold an API key: written anew, or in the place of the one that holds the key's secret of before."""

import os
import re
from pathlib import Path

import typer

from valetkey.cli.global_options import client_with_key
from valetkey.errors import InvalidArgumentError, UnauthenticatedError

_KEY = re.compile(rb"vk_[A-Za-z0-9_-]{43}")
_MAX_BYTES = 200  # A key has 46; white space around it does no harm.


def file_meant(path: Path) -> Path:
    """Returns the file that a path leads to: what is put in the place of a link is not seen by its other names."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # A link to itself, or no path at all: the next step says so.
        return path


def check_is_key_of(context: typer.Context, path: Path, name: str) -> None:
    """Asks the broker whose key a file holds, so that nothing but the key `name` is ever written over.

    Raises InvalidArgumentError where it holds anything else or a key that the broker does not know, and what a call
    raises where the broker cannot be asked.
    """
    if not path.is_file():
        raise InvalidArgumentError(f"--replace: {path} is no file; expected one that holds a key, or --out")
    try:
        with path.open("rb") as opened:
            found = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidArgumentError(f"--replace: {path} cannot be read: {error.strerror}") from None
    if len(found) > _MAX_BYTES or not _KEY.fullmatch(found.strip()):
        raise InvalidArgumentError(
            f"--replace: {path} does not hold an API key, and stays as it is; expected the file with the key {name}, "
            "or --out with the name of a new file"
        )
    try:
        principal = client_with_key(context, found.strip().decode("ascii")).who_am_i().principal
    except UnauthenticatedError:
        raise InvalidArgumentError(
            f"--replace: the broker does not know the key in {path} (ended, revoked, or another broker's), so nobody "
            f"can tell whether it is {name}'s; nothing was changed. Expected --out with the name of a new file, which "
            "you then put in its place"
        ) from None
    if principal != f"key:{name}":
        raise InvalidArgumentError(
            f"--replace: {path} holds the key of {principal}, and stays as it is; expected the file with the key "
            f"{name}, or --out with the name of a new file"
        )


def write_new(option: str, path: Path, key: str, *, like: Path | None = None) -> None:
    """Writes a key into a new file, mode 0600, or for the owner and the group that read `like`.

    It is on the disk then, for the broker forgets no key that it has admitted. Raises InvalidArgumentError where that
    cannot be, and leaves no file.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InvalidArgumentError(f"{option}: {path} exists; expected the name of a new file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise InvalidArgumentError(f"{option}: {path} cannot be written: {reason}") from None
    try:
        with os.fdopen(file, "w", encoding="ascii") as opened:
            if like is not None:
                _give_to_its_readers(file, like)
            opened.write(f"{key}\n")
            opened.flush()
            os.fsync(file)
    except PermissionError:
        path.unlink(missing_ok=True)
        raise InvalidArgumentError(
            f"{option}: {like} is of another user or group, who could not read what is put in its place; nothing was "
            "changed. Expected to run as that user or as root, or --out with the name of a new file"
        ) from None
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InvalidArgumentError(f"{option}: {path} cannot be written: {error.strerror}") from None


def _give_to_its_readers(file: int, like: Path) -> None:
    was, new = like.stat(), os.fstat(file)
    group = was.st_mode & 0o040
    user_id = was.st_uid if was.st_uid != new.st_uid else -1
    group_id = was.st_gid if group and was.st_gid != new.st_gid else -1
    if (user_id, group_id) != (-1, -1):
        os.fchown(file, user_id, group_id)
    os.fchmod(file, 0o600 | group)


def put_in_place(new: Path, file: Path) -> Path:
    """Puts a new file in the place of another, whole, and returns the latter. Raises InvalidArgumentError."""
    try:
        new.replace(file)
    except OSError as error:
        raise InvalidArgumentError(
            f"--replace: {file} cannot be replaced: {error.strerror}; the broker has the new key, which is in {new}"
        ) from None
    return file
