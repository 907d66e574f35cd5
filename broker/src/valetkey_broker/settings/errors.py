"""What is wrong with the settings, in words: where each value came from, and what was expected."""

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

_PLACE = tuple[str | int, ...]
# Pydantic's words for what TOML calls otherwise.
_FAULTS = {
    "model_type": "must be a section, in single brackets",
    "dict_type": "must be a table of names and values",
    "tuple_type": 'must be a list: ["…"], or for sections double brackets, [[…]]',
    "string_type": "must be a text, in quotes",
    "path_type": "must be a path, in quotes",
}


def explain(invalid: ValidationError, model: type[BaseModel], file: Path, env_prefix: str) -> list[str]:
    """Returns a line for every error: its source (the file, or the variable that won over it), setting and fault."""
    errors = invalid.errors(include_input=False, include_url=False)
    places = [error["loc"] for error in errors]
    lines = []
    for error in errors:
        place = error["loc"]
        if error["type"] == "too_short" and any(each[:-1] == place for each in places):
            continue  # Its wrong items, each told by itself, were taken out first.
        source = _variable(place, env_prefix) or _variable_of_list(place, env_prefix) or str(file)
        lines.append(": ".join(filter(None, (source, ".".join(map(str, place)), _fault(error, model)))))
    return lines


def open_to_others(file: Path) -> bool:
    """Tells whether every user of this machine may read or change a file; its group may, as in containers."""
    return os.name == "posix" and bool(file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))


def unreadable(file: Path) -> str | None:
    """Returns why a file cannot be read, None where it can."""
    try:
        if not file.exists():
            return f"{file} does not exist"
    except OSError as error:  # Such as a folder on the way that this user may not enter.
        return f"{file} cannot be reached: {error.strerror}"
    if file.is_dir():
        return f"{file} is a directory; expected a file"
    if not os.access(file, os.R_OK):
        return f"{file} is not readable by this user"
    return None


def _fault(error: Any, model: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        known = _settings_at(model, error["loc"][:-1])
        return f"unknown setting; known here: {', '.join(known)}" if known else "unknown setting"
    if error["type"] == "missing":
        needed = _settings_at(model, error["loc"], needed_only=True)
        return f"is missing; needed in it: {', '.join(needed)}" if needed else "is missing"
    if error["type"] == "too_short":
        return "must not be empty"
    # Pydantic's own prefixes tell how the check was written.
    said = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return _FAULTS.get(error["type"]) or said.replace("Input should be ", "must be ")


def _settings_at(model: Any, place: _PLACE, *, needed_only: bool = False) -> Sequence[str]:
    for part in place:
        if not _is_section(model):
            held = [each for each in get_args(model) if each is not Ellipsis]
            model = held[-1] if held else None  # what a table or an array holds
        elif part in model.model_fields:
            model = model.model_fields[part].annotation
            if NoneType in get_args(model):
                model = get_args(model)[0]
        else:
            return ()
    if not _is_section(model):
        return ()
    return sorted(name for name, field in model.model_fields.items() if not needed_only or _needed(field))


def _needed(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return field.is_required() or (isinstance(extra, dict) and bool(extra.get("needed_by_default")))


def _is_section(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)


def _variable(place: _PLACE, prefix: str) -> str | None:
    """Returns the variable that gave the value at `place`: its own, or one that holds its section as JSON."""
    given = {name.upper(): name for name in os.environ}
    for length in range(len(place), 0, -1):
        name = given.get((prefix + "__".join(map(str, place[:length]))).upper())
        if name is not None and _holds(os.environ[name], place[length:]):
            return name
    return None


def _variable_of_list(place: _PLACE, prefix: str) -> str | None:
    """Returns the variable that gave the list item in which something at `place` is missing."""
    first = next((index for index, part in enumerate(place) if isinstance(part, int)), None)
    return None if first is None else _variable(place[: first + 1], prefix)


def _holds(text: str, place: _PLACE) -> bool:
    if not place:
        return True
    try:
        value = json.loads(text)
        for part in place:
            value = value[part]
    except (ValueError, LookupError, TypeError):
        return False
    return True
