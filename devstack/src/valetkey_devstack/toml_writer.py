"""Writes TOML, which Python itself only reads: tables, arrays of tables, and plain values."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def toml_document(values: Mapping[str, Any]) -> str:
    """Returns `values` as a TOML document. Paths are written as strings; dates and None are not known."""
    return "\n".join(_table(values, ())).lstrip("\n") + "\n"


def _table(values: Mapping[str, Any], place: tuple[str, ...], header: str = "") -> Iterator[str]:
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping) and not _is_array(value)}
    if header and (plain or not values or header.startswith("[[")):
        yield ""
        yield header
    yield from (f"{_key(key)} = {_value(value)}" for key, value in plain.items())
    for key, value in values.items():
        inner = (*place, key)
        name = ".".join(map(_key, inner))
        if isinstance(value, Mapping):
            yield from _table(value, inner, f"[{name}]")
        elif _is_array(value):
            for each in value:
                yield from _table(each, inner, f"[[{name}]]")


def _is_array(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    # Python writes numbers as TOML has them, not a number and infinity included.
    return repr(value) if isinstance(value, int | float) else _string(str(value))


def _string(text: str) -> str:
    # As JSON, whose escapes TOML has, too. All but ASCII as it is, for JSON would write it in surrogates.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
