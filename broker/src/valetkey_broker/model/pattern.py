"""Patterns of principals, attributes and containers: `*` stands for characters inside one segment, never across."""

import re
from functools import lru_cache

from valetkey_broker.model.errors import InvalidFieldError, shown

_MAX_LENGTH = 512
# What a pattern may hold besides `*`: printable ASCII without quotes and the other tools' wildcards.
_PLAIN = re.compile(r"[A-Za-z0-9 _.:/#@+=~%!$&,;(){}|^-]|\*")
_ANY_IN_SEGMENT = "[^/:#]+"
_SEPARATOR = re.compile(r"([/:#])")


class Pattern:
    """A validated pattern. Without `*` it matches one string only, exactly, character by character."""

    __slots__ = ("_regex", "exact", "text")

    def __init__(self, text: str, field: str) -> None:
        """Raises InvalidFieldError for an empty one, one that is too long, `**`, other wildcards, quotes, blanks."""
        expected = (
            "a name, or a pattern of printable ASCII in which * stands for one or more characters up to the next "
            "'/', ':' or '#'; no **, ?, [ or quotes, and blanks only inside"
        )
        if not text or len(text) > _MAX_LENGTH:
            raise InvalidFieldError(field, "is empty" if not text else f"is over {_MAX_LENGTH} characters", expected)
        if "**" in text or text != text.strip(" ") or any(not _PLAIN.fullmatch(character) for character in text):
            raise InvalidFieldError(field, f"{shown(text)} is not a pattern", expected)
        if not text.replace("*", "").strip("/:#"):
            raise InvalidFieldError(field, f"{shown(text)} would match anything", "a pattern that names something")
        self.text = text
        self.exact = "*" not in text
        self._regex = _compiled(text)

    def matches(self, value: str) -> bool:
        """Tells whether `value` matches, as a whole."""
        return value == self.text if self.exact else self._regex.fullmatch(value) is not None

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class ContainerPattern(Pattern):
    """A pattern of containers. `*` stands for no part of a system container: `$web` and the like are named in full.

    What is written to `$web` is a public web site, and `$logs` says who read what: nobody means them by `*web`.
    """

    __slots__ = ()

    def matches(self, value: str) -> bool:
        """Tells whether `value` matches, as a whole."""
        return value == self.text if "$" in value else super().matches(value)


@lru_cache(maxsize=4096)
def _compiled(text: str) -> re.Pattern[str]:
    return re.compile("".join(map(_expression, _SEPARATOR.split(text))), re.DOTALL)


def _expression(part: str) -> str:
    """Returns the expression for a segment, or a separator.

    What stands between two asterisks is taken where it comes first, for good: that finds every match, and with three
    asterisks in a segment trying all other places as well would take hours for a name that is made for it.
    """
    first, *others = map(re.escape, part.split("*"))
    if not others:
        return first
    *middle, last = others
    return first + "".join(f"(?>{_ANY_IN_SEGMENT}?{piece})" for piece in middle) + _ANY_IN_SEGMENT + last
