"""Where one may be sent back to: pages of ours only."""

import re

_MOST = 2_000
# One slash, then what browsers take for no other host; no control characters and spaces, which they leave out.
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")
# Segments that browsers take for this folder and the one above, and an empty one: `/..//other` is another host to some.
_ELSEWHERE = re.compile(r"/(?:(?:\.|%2e){1,2}(?=/|$)|/)", re.IGNORECASE)


def local_path(wanted: str) -> str:
    """Returns the path that was asked for, below our own base path, or `/` where it may lead elsewhere."""
    if len(wanted) > _MOST or not _LOCAL.fullmatch(wanted):
        return "/"
    return "/" if _ELSEWHERE.search(re.split("[?#]", wanted, maxsplit=1)[0]) else wanted


def without_base(path: str, base_path: str) -> str:
    """Returns a path without our base path, which a proxy may have taken away already."""
    return path.removeprefix(base_path) if path.startswith(f"{base_path}/") else path
