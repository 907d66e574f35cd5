"""What is wrong with the settings, in words: where each value came from, and what was expected."""

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_PLACE = tuple[str | int, ...]


def explain(error: ValidationError, model: type[BaseModel], file: Path, env_prefix: str) -> list[str]:
    """Returns a line for every problem: its source (the file, or the variable that won over it), setting and fault."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        place = problem["loc"]
        source = _variable(place, env_prefix) or str(file)
        lines.append(": ".join(filter(None, (source, ".".join(map(str, place)), _fault(problem, model)))))
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


def _fault(problem: Any, model: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        known = _settings_at(model, problem["loc"][:-1])
        return f"unknown setting; known here: {', '.join(known)}" if known else "unknown setting"
    # Pydantic's own prefixes, which tell how the check was written.
    return str(problem["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _settings_at(model: Any, place: _PLACE) -> Sequence[str]:
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
    return sorted(model.model_fields) if _is_section(model) else ()


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
