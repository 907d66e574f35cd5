"""Credentials as names and values, in JSON or YAML: written on the command line, or in a file."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from valetkey.cli.auth_methods import ALIASES, FIELDS, SECRET_FIELDS
from valetkey.cli.credential_input import check_no_file, clean, read_stdin
from valetkey.cli.screen import Screen
from valetkey.enums_and_times import NEVER_AUTH_METHODS
from valetkey.errors import InvalidArgumentError
from valetkey.secret_files import read_bytes

# Far above what any credential needs; keeps a wrong file from being read whole.
MAX_BYTES = 1024 * 1024
_NEVER = {method.replace("-", "_"): why for method, why in NEVER_AUTH_METHODS.items()}
_EXPECTED = "expected names and values, such as {account_name: …, account_key: …}, in JSON or YAML"


def read_values(given: str, screen: Screen, *, what: str = "--values") -> dict[str, str]:
    """Returns the fields that an option such as --values stands for, by the API's names, checked and cleaned.

    `given` is `@FILE`, `-` for standard input, or the text itself, which warns where it holds a secret. Raises
    InvalidArgumentError or SettingsError, without showing any value.
    """
    if given == "-":
        data, source = read_stdin(MAX_BYTES), "standard input"
    elif given.startswith("@"):
        if given == "@":
            raise InvalidArgumentError(f"{what}: @ names no file; expected @FILE, - or the values themselves")
        data, source = read_bytes(Path(given[1:]), what, MAX_BYTES), f"file {given[1:]}"
    else:
        check_no_file(given, what)
        data, source = given.encode(), "the text given"
    fields = parse_values(data, source, what=what)
    values = {field: clean(field, text.encode(), f"{what}, {source}", screen) for field, text in fields.items()}
    if source == "the text given" and (secret := [field for field in values if field in SECRET_FIELDS]):
        screen.warn(
            f"{what} on the command line holds {', '.join(secret)}: other users of this machine can see it in the "
            f"process list; {what} @FILE or - (standard input) keep it out"
        )
    return values


def parse_values(data: bytes, source: str, *, what: str = "--values") -> dict[str, str]:
    """Returns fields by the API's names, out of JSON or YAML; every value is text, as it was written.

    Raises InvalidArgumentError where it is not one set of known names, each once, with a text each. The error names the
    place and the name, never a value.
    """
    where = f"{what}: {source}"
    if len(data) > MAX_BYTES:
        raise InvalidArgumentError(f"{where} holds over {MAX_BYTES} bytes; {_EXPECTED}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidArgumentError(f"{where} is not text; {_EXPECTED}") from None
    if not text.strip():
        raise InvalidArgumentError(f"{where} is empty; {_EXPECTED}")
    fields: dict[str, str] = {}
    for name, value in _pairs(text, where):
        field = _field(name, where)
        if field in fields:
            raise InvalidArgumentError(f"{where} gives {field} more than once; expected each name once")
        if not isinstance(value, str):
            raise InvalidArgumentError(f"{where}: {name} is {_kind(value)}; expected a text, in quotes")
        if not value.strip():
            raise InvalidArgumentError(f"{where}: {name} has no value; expected a text, or leave it out")
        fields[field] = value
    if not fields:
        raise InvalidArgumentError(f"{where} is empty; {_EXPECTED}")
    return fields


def merged(options: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Returns what is given by options and by --values together. Raises InvalidArgumentError for what both give."""
    if both := [field for field in options if field in values]:
        raise InvalidArgumentError(f"{both[0]} is given in --values and by an option; expected it once")
    return {**options, **values}


def _field(name: Any, where: str) -> str:
    if not isinstance(name, str):
        raise InvalidArgumentError(f"{where} holds {_kind(name)} as a name; {_EXPECTED}")
    plain = name.strip().replace("-", "_").lower()
    field = ALIASES.get(plain, plain)
    if field in FIELDS:
        return field
    if field in _NEVER:
        raise InvalidArgumentError(f"{where}: {field} is not taken: {_NEVER[field]}")
    known = (*FIELDS, *ALIASES)
    # The name may be a value that slipped into its place: only what is near to a name of ours is repeated.
    near = difflib.get_close_matches(plain, known, 1, cutoff=0.8)
    raise InvalidArgumentError(
        f"{where}: {plain} is not known; did you mean {near[0]}?"
        if near
        else f"{where} holds a name that is not known; expected names of {', '.join(known)}"
    )


def _pairs(text: str, where: str) -> Sequence[tuple[Any, Any]]:
    """Returns names and values in their order, those given twice included."""
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text, object_pairs_hook=_Pairs)
        except ValueError:
            found = None  # in YAML braces may stand too
        except RecursionError:
            raise InvalidArgumentError(f"{where} is nested too deeply; {_EXPECTED}") from None
        if isinstance(found, _Pairs):
            return found
    return _yaml_pairs(text, where)


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON, with names that are given twice."""


def _yaml_pairs(text: str, where: str) -> Sequence[tuple[Any, Any]]:
    import yaml  # noqa: PLC0415 (only those who use it wait for it)

    try:
        # Nodes rather than objects: a text stays as it was written, 012 and no included, and nothing is made of tags.
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}" if mark else ""
        raise InvalidArgumentError(f"{where} is neither JSON nor YAML{place}; {_EXPECTED}") from None
    except (yaml.YAMLError, RecursionError):
        raise InvalidArgumentError(f"{where} is neither JSON nor YAML; {_EXPECTED}") from None
    if isinstance(root, yaml.SequenceNode):
        raise InvalidArgumentError(f"{where} is a list; {_EXPECTED}")
    if not isinstance(root, yaml.MappingNode):
        raise InvalidArgumentError(f"{where} holds no names; {_EXPECTED}; a file is given as @FILE")
    return [(_scalar(name), _scalar(value)) for name, value in root.value]


def _scalar(node: Any) -> Any:
    if node.id == "scalar":
        return node.value
    return [] if node.id == "sequence" else {}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, _Pairs | dict):
        return "a set of names"
    return {bool: "a truth value", int: "a number", float: "a number", list: "a list"}.get(type(value), "no text")
