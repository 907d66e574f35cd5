"""Lists in one argument: `read,list`, and repeated `KEY=VALUE`."""

from collections.abc import Iterable

from valetkey import enums_and_times
from valetkey.errors import InvalidArgumentError

PERMISSIONS = enums_and_times.choices(enums_and_times.PERMISSION)


def parse_permissions(given: Iterable[str]) -> list[str]:
    """Returns the permissions that comma-separated lists name, each once.

    Raises InvalidArgumentError for an unknown one, and for none.
    """
    words = list(dict.fromkeys(word.strip().lower() for text in given for word in text.split(",") if word.strip()))
    unknown = [word for word in words if word not in PERMISSIONS]
    if unknown or not words:
        problem = f"{unknown[0]!r} is unknown" if unknown else "none given"
        raise InvalidArgumentError(
            f"--permissions: {problem}; expected some of {', '.join(PERMISSIONS)}, "
            "with commas between them and no spaces: read,list"
        )
    return words


def parse_attributes(pairs: Iterable[str]) -> dict[str, str]:
    """Returns the attributes that `KEY=VALUE` pairs name.

    Raises InvalidArgumentError where one is no such pair, or a key comes twice: both would have to hold.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise InvalidArgumentError(f"--attribute: {pair!r} is no attribute; expected one such as namespace=ml-*")
        if key in found:
            raise InvalidArgumentError(f"--attribute: {key!r} is given twice; expected one value for each")
        found[key] = value
    return found
