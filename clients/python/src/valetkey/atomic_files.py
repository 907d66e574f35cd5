"""Files that are there whole or not at all."""

import os
import tempfile
from pathlib import Path


def unfinished(path: Path) -> list[Path]:
    """Returns what writes of a file left beside it that were killed; such hold what the file would have held."""
    return [each for each in path.parent.iterdir() if each.name.startswith(_prefix(path))]


def write_whole(path: Path, content: bytes) -> None:
    """Puts a file in place of the one before; only this user may read it. Raises OSError, and leaves nothing behind.

    Whoever waits for it reads it the moment that it is there. Of a symbolic link, the link itself is replaced.
    """
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _prefix(path: Path) -> str:
    return f".{path.name}."
