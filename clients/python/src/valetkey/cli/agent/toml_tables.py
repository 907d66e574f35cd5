"""Tables of the configuration, read strictly: each value of its type, no key unknown, each error with its line."""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valetkey.cli.agent.toml_line_numbers import line_of
from valetkey.errors import SettingsError

_MOST_BYTES = 1024 * 1024
# TOML has no numbers that begin with 0, and people write modes so.
_BARE_MODE = re.compile(r"(?m)^[ \t]*mode[ \t]*=[ \t]*0[0-7]+[ \t]*(#.*)?$")


@dataclass(frozen=True, slots=True)
class Document:
    """A file of TOML as it was read."""

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> "tuple[Document, dict[str, Any]]":
        """Returns a file and its values. Raises SettingsError where it is none."""
        text = read_text(path, "--config").replace("\r\n", "\n")
        try:
            return cls(path, text), tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            # Its text gives a place, never a value.
            hint = '; a mode stands in quotes, such as mode = "0640"' if _BARE_MODE.search(text) else ""
            raise SettingsError(f"--config: {path} is not TOML: {error}{hint}") from None


def read_text(path: Path, what: str) -> str:
    """Returns the text of a file. Raises SettingsError, which names it as `what`."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise SettingsError(f"{what}: {path} is larger than {_MOST_BYTES} bytes")
        return content.decode()
    except FileNotFoundError:
        raise SettingsError(f"{what}: there is no file {path}") from None
    except OSError as error:
        raise SettingsError(f"{what}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{what}: {path} is not text; expected UTF-8") from None


@dataclass(frozen=True, slots=True)
class Section:
    """One table, at its place."""

    document: Document
    place: tuple[str | int, ...]
    values: dict[str, Any]

    def known(self, keys: Sequence[str]) -> None:
        """Raises SettingsError for a key that is none of these."""
        for key in self.values:
            if key not in keys:
                raise self.error(key, f"the key is unknown; expected {', '.join(keys)}")

    def text(self, key: str) -> str | None:
        """Returns a string, None where there is none. Raises SettingsError for anything else, and for an empty one."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            raise self.error(key, f"{_shown(value)} is not a string; expected one in quotes that is not empty")
        if value is not None and "\0" in value:
            raise self.error(key, "it holds a NUL")
        return value

    def needed(self, key: str, what: str) -> str:
        """Returns a string that has to be there; `what` says what is expected."""
        value = self.text(key)
        if value is None:
            raise self.error(key, f"it is missing; expected {what}")
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Returns a list of strings, with one at least; None where there is none."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
            words = [word for word in re.split(r"[,\s]+", value) if word] if isinstance(value, str) else []
            example = json.dumps(words, ensure_ascii=False) if words else '["one", "another"]'
            raise self.error(key, f"expected a list of strings such as {example}")
        return tuple(value)

    def flag(self, key: str) -> bool:
        """Returns true or false, false where it is left out."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, f"{_shown(value)} is neither true nor false")
        return value

    def number(self, key: str, least: int, most: int) -> int | None:
        """Returns a whole number between two; None where there is none."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most):
            raise self.error(key, f"{_shown(value)} is not a whole number from {least} to {most}")
        return value

    def path(self, key: str) -> Path | None:
        """Returns a path, meant from where the file is."""
        value = self.text(key)
        if value is None:
            return None
        path = self.document.path.absolute().parent / Path(value).expanduser()
        if not path.name or path.name == ".." or value.endswith("/"):
            raise self.error(key, f"{value} is no path of a file")
        return path

    def table(self, key: str) -> "Section | None":
        """Returns a table below this one."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(key, "it is not a table")
        return Section(self.document, (*self.place, key), value)

    def tables(self, key: str) -> "Iterator[Section]":
        """Returns the tables of a list below this one."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.error(key, f"it is not a list of tables; expected [[{'.'.join((*self._names(), key))}]]")
        for number, each in enumerate(value):
            yield Section(self.document, (*self.place, key, number), each)

    def error(self, key: str, problem: str) -> SettingsError:
        """Returns an error that names a key and its line; of a key that is not there, the line of its table."""
        line = line_of(self.document.text, (*self.place, key) if key else self.place) or line_of(
            self.document.text, self.place
        )
        name = ".".join((*self._names(), *([key] if key else [])))
        return SettingsError(f"{self.document.path.name}, line {max(line, 1)}: {name}: {problem}")

    def _names(self) -> tuple[str, ...]:
        return tuple(step for step in self.place if isinstance(step, str))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str | int | float) else "it"
