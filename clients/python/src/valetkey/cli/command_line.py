"""A command line as it was typed: where options stand, how often, and how the broker calls them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

# Fields of the API that are options under another name; the first that a command has is meant.
_OPTIONS = {
    "resource_id": ("--resource-id", "--resource"),
    "principals": ("--principal",),
    "containers": ("--container",),
    "connectors": ("--connector",),
    "prefixes": ("--prefix",),
    "attributes": ("--attribute",),
    "consumer_role": ("--role",),
    "roles": ("--role",),
    "expire_time": ("--expires-at", "--expires", "--ttl"),
    "labels": ("--label",),
    "page_size": ("--limit", "--number"),
    "key_sha256": (),
}


# Not two flags of one letter each: ZenML's short form of --resource-id.
_TWO_LETTERS = ("-ri",)


class CommandLine:
    """One command line against the tree of commands; `arguments` are what was typed, without the program's name."""

    def __init__(self, root: Any, arguments: Sequence[str]) -> None:
        self.words: list[str] = []
        self.command: Any = root
        self._root = root
        self._own: list[str] = []
        rest = list(arguments)
        while rest and (argument := rest.pop(0)) != "--":
            if argument.startswith("-") and argument != "-":
                self._own.append(argument)
                if rest and self._takes(argument, rest[0]):
                    rest.pop(0)
            elif self.command is None or _children(self.command):
                self.words.append(_plain(argument))
                self.command = _children(self.command).get(self.words[-1])
                self._own = []

    def repeated(self) -> str:
        """Returns an option of the command that is given twice and counts once, empty where there is none.

        The global ones may be: an alias of the shell may hold them, to be overridden.
        """
        if self.command is self._root:
            return ""
        counts = Counter(_name(argument) for argument in self._own)
        for parameter in self._parameters():
            names = [_plain(name) for name in parameter.opts]
            if sum(counts[name] for name in names) > 1 and not _may_repeat(parameter):
                return str(max(parameter.opts, key=len))
        return ""

    def option_of(self, field: str) -> str:
        """Returns the option, or the argument, that stands for a field of the API; the field itself where none does."""
        names = {name for parameter in self._parameters() for name in parameter.opts}
        wanted = (f"--{field.replace('_', '-')}", *_OPTIONS.get(field, ()))
        if field == "name" and "name" in names:
            return "NAME"
        return next((name for name in wanted if name in names), field)

    def belongs_below(self, option: str, path: Sequence[str]) -> bool:
        """Tells whether one of the commands below `path` has this option."""
        command = self._root
        for word in path:
            command = _children(command).get(word)
        return any(option in parameter.opts for below in _below(command) for parameter in below.params)

    def _parameters(self) -> list[Any]:
        return list(getattr(self.command, "params", []))

    def _parameter(self, argument: str) -> Any:
        return next((p for p in self._parameters() if _name(argument) in map(_plain, p.opts)), None)

    def _takes(self, argument: str, following: str) -> bool:
        """Tells whether what follows an option is its value; behind an unknown one, what is no command may be."""
        glued = "=" in argument or (not argument.startswith("--") and len(argument) > 2)  # noqa: PLR2004 (-ojson)
        if (parameter := self._parameter(argument)) is None:
            below = _children(self.command)
            return bool(below) and not glued and not following.startswith("-") and _plain(following) not in below
        return not glued and not parameter.is_flag


def _may_repeat(parameter: Any) -> bool:
    return bool(getattr(parameter, "multiple", False) or getattr(parameter, "is_flag", False))


def _children(command: Any) -> dict[str, Any]:
    return getattr(command, "commands", {})


def _below(command: Any) -> list[Any]:
    found = []
    for following in _children(command).values():
        found += [following, *_below(following)]
    return found


def _plain(word: str) -> str:
    return word.replace("_", "-").lower()


def _name(argument: str) -> str:
    if argument.startswith("--") or argument in _TWO_LETTERS:
        return _plain(argument.partition("=")[0])
    return _plain(argument[:2])
