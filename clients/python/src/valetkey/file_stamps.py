"""Tells by time, size and inode whether a file was replaced since it was read."""

from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[int, int, int, int] | None


def stamps(paths: Iterable[Path]) -> tuple[Stamp, ...]:
    """Returns one stamp a file, None for one that cannot be looked at. A replaced or rewritten file has another one."""
    return tuple(map(_stamp, paths))


def _stamp(path: Path) -> Stamp:
    try:
        # Of what a symbolic link leads to: Kubernetes swaps a link, and the file behind it is another one.
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
