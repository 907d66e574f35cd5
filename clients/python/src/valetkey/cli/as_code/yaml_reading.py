"""YAML as texts, lists and names, with the line of each: nothing is made of tags, and no name comes twice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from valetkey.errors import InvalidArgumentError

MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: a file and a line in it, from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True, slots=True)
class Value:
    """A text, a list of values, or values by name. A text is as it was written: `012` and `no` stay what they are."""

    place: Place
    content: "str | list[Value] | dict[str, Value]" = field(repr=False)

    def text(self, what: str) -> str:
        """Returns a text. Raises InvalidArgumentError, naming `what`, where it is none."""
        if not isinstance(self.content, str):
            raise self.error(f"{what} is {self._kind()}; expected a text")
        return self.content

    def texts(self, what: str) -> tuple[str, ...]:
        """Returns a list of texts; a single one is taken for a list of one."""
        if isinstance(self.content, str):
            return (self.content,)
        if isinstance(self.content, dict):
            raise self.error(f"{what} is {self._kind()}; expected a list of texts")
        return tuple(each.text(f"each of {what}") for each in self.content)

    def values(self, what: str) -> "list[Value]":
        """Returns a list."""
        if not isinstance(self.content, list):
            raise self.error(f"{what} is {self._kind()}; expected a list, each entry after a hyphen")
        return self.content

    def names(self, what: str) -> "Mapping[str, Value]":
        """Returns values by name."""
        if not isinstance(self.content, dict):
            raise self.error(f"{what} is {self._kind()}; expected names with values")
        return self.content

    def error(self, says: str) -> InvalidArgumentError:
        """Returns an error that says where."""
        return InvalidArgumentError(f"{self.place}: {says}")

    def _kind(self) -> str:
        return {str: "a text", list: "a list", dict: "a set of names"}[type(self.content)]


def read_yaml(data: bytes, file: str) -> list[Value]:
    """Returns the documents in a file. Raises InvalidArgumentError where it is not YAML, or too large."""
    import yaml  # noqa: PLC0415 (only those who use it wait for it)

    if len(data) > MAX_BYTES:
        raise InvalidArgumentError(f"{file}: holds over {MAX_BYTES} bytes; expected a file of connectors and grants")
    try:
        text = data.decode("utf-8-sig")
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.BaseLoader) if node is not None]
        return [_value(node, file) for node in nodes]
    except UnicodeDecodeError:
        raise InvalidArgumentError(f"{file}: is not text; expected YAML in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InvalidArgumentError(f"{Place(file, mark.line + 1 if mark else 1)}: is not YAML") from None
    except (yaml.YAMLError, RecursionError):
        raise InvalidArgumentError(f"{file}: is not YAML") from None


def _value(node: Any, file: str) -> Value:
    place = Place(file, node.start_mark.line + 1)
    if node.id == "scalar":
        return Value(place, str(node.value))
    if node.id == "sequence":
        return Value(place, [_value(each, file) for each in node.value])
    found: dict[str, Value] = {}
    for key, value in node.value:
        name = _value(key, file)
        text = name.text("a name")
        if text in found:
            raise name.error(f"{text} is given twice; expected each name once")
        found[text] = _value(value, file)
    return Value(place, found)
