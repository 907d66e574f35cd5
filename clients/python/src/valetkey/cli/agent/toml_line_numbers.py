"""On which line of a TOML file a key stands: what reads TOML tells values, and no places."""

import tomllib
from typing import Any

Path = tuple[str | int, ...]


def line_of(text: str, path: Path) -> int:
    """Returns the line, from 1, at which the key or the table at `path` begins; 0 where it is not there.

    A TOML file that is cut off between two statements is TOML as well, so the shortest beginning that holds the key
    ends with it, and the longest that does not ends before it.
    """
    lines = text.split("\n")
    without, within = 0, len(lines)
    if not _holds(lines, within, path):
        return 0
    while within - without > 1:
        middle = (without + within) // 2
        if _holds(lines, middle, path):
            within = middle
        else:
            without = middle
    # The statement may have begun some lines earlier.
    while without and _parsed(lines[:without]) is None:
        without -= 1
    return without + 1


def _holds(lines: list[str], count: int, path: Path) -> bool:
    while count and (found := _parsed(lines[:count])) is None:
        count -= 1
    return bool(count) and _has(found, path)


def _has(value: Any, path: Path) -> bool:
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, list) or len(value) <= step:
                return False
        elif not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return True


def _parsed(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None
