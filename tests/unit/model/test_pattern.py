"""Patterns: what an asterisk stands for, and that no name makes matching slow."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.stopwatch import ends_within
from valetkey_broker.model import ContainerPattern, Pattern

_PIECES = st.lists(st.text("ab-/:#", min_size=1, max_size=4), min_size=1, max_size=4)
# What is between two asterisks is never empty; a pattern has to name something, here at least an `a`.
_TEXT = st.builds(
    lambda begin, pieces, end: begin + "*".join(("a", *pieces)) + end,
    st.sampled_from(["", "*"]),
    _PIECES,
    st.sampled_from(["", "*"]),
)


@given(_TEXT, st.text("ab-/:#\n", max_size=16))
def test_an_asterisk_is_one_or_more_characters_of_one_segment(text: str, value: str) -> None:
    """What matches is what the rule says, here as a regular expression, down to the last character."""
    expression = "[^/:#]+".join(re.escape(piece) for piece in text.split("*"))
    assert Pattern(text, "principals").matches(value) == (re.fullmatch(expression, value) is not None)


@given(_TEXT, st.lists(st.text("ab-", min_size=1, max_size=5), min_size=14, max_size=14))
def test_what_is_filled_in_matches(text: str, fillings: list[str]) -> None:
    """Whatever stands for the asterisks inside their segments, the pattern finds it again."""
    first, *rest = text.split("*")
    value = first + "".join(filling + piece for filling, piece in zip(fillings, rest, strict=False))
    assert Pattern(text, "principals").matches(value)


@pytest.mark.parametrize("text", ["ns-*-*-*-*-*-*x/y", "oidc:https://issuer#repo:org/*a*a*a*a*b:ref"])
def test_no_name_makes_it_slow(text: str) -> None:
    """Several asterisks in a segment and a name made for them take no longer than the name is long."""
    pattern = Pattern(text, "principals")
    with ends_within():
        for filling in ("-" * 50_000, "a" * 50_000):
            assert not pattern.matches(text.replace("*", filling).replace("x", "").replace("b:ref", ":ref"))


def _means(pattern: str, container: str) -> bool:
    """Says what a pattern of containers means, character by character: another way than the one that is tested."""
    if "*" not in pattern or container.startswith("$"):
        return pattern == container
    reached = {0}
    for character in container:
        # A star takes this character and, perhaps, the next one too; elsewhere the letters have to agree.
        taken = {at for at in reached if pattern[at : at + 1] in ("*", character)}
        reached = {at + 1 for at in taken} | {at for at in taken if pattern[at] == "*"}
    return len(pattern) in reached


_SYSTEM = ["$web", "$logs", "$root", "$blobchangefeed"]
_CONTAINERS = st.one_of(st.sampled_from(_SYSTEM), st.text("webrotlgs-", min_size=1, max_size=8))
_CONTAINER_PATTERNS = st.one_of(
    st.sampled_from(_SYSTEM),
    st.lists(st.text("$webrotlgs", max_size=3), min_size=1, max_size=4)
    .map("*".join)
    .filter(lambda text: text.strip("*") and "**" not in text),
)


@given(_CONTAINER_PATTERNS, _CONTAINERS)
@example("*web", "$web")
@example("*logs", "$logs")
@example("*e*", "$web")
@example("*o*", "$root")
@example("$*", "$web")
@example("$web", "$web")
def test_no_asterisk_stands_for_a_part_of_a_system_container(pattern: str, container: str) -> None:
    """`*web` is not `$web`, the account's public web site: such containers are meant by their full names only."""
    assert ContainerPattern(pattern, "containers").matches(container) == _means(pattern, container)
