"""What stands around the `*` of patterns: found for every name that fits, whatever the number of patterns."""

from hypothesis import given
from hypothesis import strategies as st

from valetkey_broker.authz.affix_index import AffixIndex
from valetkey_broker.model import Pattern

_PIECES = st.lists(st.text("ab/:#", min_size=1, max_size=4), min_size=1, max_size=3)
_ENDS = st.sampled_from(["", "a", "/"])
# An `a` in front: a pattern has to name something.
_PATTERNS = st.lists(st.builds(lambda pieces, end: "a" + "*".join((*pieces, end)), _PIECES, _ENDS), max_size=12)


def _around(pattern: str) -> tuple[str, str]:
    return pattern.partition("*")[0], pattern.rpartition("*")[2]


def _filled(patterns: list[str]) -> AffixIndex:
    surroundings = AffixIndex()
    for pattern in patterns:
        surroundings.add(_around(pattern))
    return surroundings


@given(_PATTERNS, st.text("ab/:#", max_size=14).map("a".__add__))
def test_no_pattern_that_matches_is_missed(patterns: list[str], name: str) -> None:
    """A grant is never overlooked for how its pattern is found."""
    found = set(_filled(patterns).of(name))
    for pattern in patterns:
        if Pattern(pattern, "principals").matches(name):
            assert _around(pattern) in found


@given(_PATTERNS, _PATTERNS, st.text("ab/:#", max_size=14).map("a".__add__))
def test_what_was_removed_is_gone(kept: list[str], gone: list[str], name: str) -> None:
    """Adding and removing leaves what was there before, and nothing at all in the end."""
    surroundings = _filled(kept)
    for pattern in gone:
        surroundings.add(_around(pattern))
    for pattern in gone:
        surroundings.remove(_around(pattern))
    assert set(surroundings.of(name)) == set(_filled(kept).of(name))
    for pattern in kept:
        surroundings.remove(_around(pattern))
    assert not surroundings._into
    assert not surroundings._tails


def test_little_is_tried_among_many() -> None:
    """Ten thousand patterns of all lengths give a name no more to look up than the few that could mean it."""
    heads = [f"spiffe://ml.invalid/ns/{'x' * (number % 90)}{number}/sa/" for number in range(10_000)]
    surroundings = _filled([f"{head}*" for head in heads])
    assert list(surroundings.of(f"{heads[77]}trainer")) == [(heads[77], "")]
    assert not list(surroundings.of("spiffe://ml.invalid/ns/stranger/sa/trainer"))
