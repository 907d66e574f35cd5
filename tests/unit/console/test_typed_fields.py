"""What people type into fields, and patterns as the broker compares them."""

from datetime import UTC, datetime, timedelta

import pytest

from valetkey import InvalidArgumentError
from valetkey_broker.model import Pattern
from valetkey_console.fields.parsing import duration, lines, moment, pairs
from valetkey_console.pages.grant_patterns import reaches
from valetkey_console.pages.resources.ids import container_and_path, container_of


def test_what_can_be_typed() -> None:
    """The same words as on the command line; nothing typed stands for nothing said."""
    assert duration(" 1h30m ", "ttl") == timedelta(minutes=90)
    assert duration("", "ttl") is None
    assert moment("", "ends") is None
    assert moment("2026-12-31T01:00:00+01:00", "ends") == datetime(2026, 12, 31, tzinfo=UTC)
    assert moment("2026-12-31", "ends") == datetime(2026, 12, 31, tzinfo=UTC)
    ahead = moment("90d", "ends")
    assert ahead is not None
    assert timedelta(days=89) < ahead - datetime.now(UTC) < timedelta(days=91)
    assert lines(" a \n\nb\r\na\n") == ("a", "b")
    assert pairs(("a=1", "b = x=y"), "labels") == {"a": "1", "b": "x=y"}


@pytest.mark.parametrize("text", ["15", "soon", "-1h", "1 h", "9999999999d", "1h" + "0" * 99, "٣h"])
def test_what_is_no_duration(text: str) -> None:
    """A bare number neither: it is as often meant as minutes as it is as seconds."""
    with pytest.raises(InvalidArgumentError, match="ttl: "):
        duration(text, "ttl")


@pytest.mark.parametrize("text", ["tomorrow", "20261231", "9999999d", "2026-13-01", "0001-01-01T00:00:00+23:59"])
def test_what_is_no_moment(text: str) -> None:
    """A bare number neither."""
    with pytest.raises(InvalidArgumentError, match="ends: "):
        moment(text, "ends")


@pytest.mark.parametrize("given", [("a",), ("=1",), ("a=1", "a=2")])
def test_what_is_no_pair(given: tuple[str, ...]) -> None:
    """Twice the same key neither: one of the values would be lost."""
    with pytest.raises(InvalidArgumentError, match="labels: "):
        pairs(given, "labels")


@pytest.mark.parametrize(
    ("resource", "container", "path"),
    [
        ("az://demo", "demo", ""),
        ("demo/a/b", "demo", "a/b"),
        ("az://demo/runs/", "demo", "runs"),
        ("abfss://demo@account.dfs.core.windows.net/a", "demo", "a"),
        ("https://account.blob.core.windows.net/demo/demo", "demo", "demo"),
        ("https://127.0.0.1:10000/account/demo/a.bin", "demo", "a.bin"),
        ("https://127.0.0.1:10000/account/demo", "demo", ""),
        ("", "", ""),
        ("https://", "", ""),
    ],
)
def test_ids_and_urls_are_taken_apart(resource: str, container: str, path: str) -> None:
    """The form for a grant is filled in with both, and the page of a blob's container is found."""
    assert container_and_path(resource) == (container, path)
    assert container_and_path(container_of(resource)) == (container, "")


def test_patterns_mean_what_they_mean_to_the_broker() -> None:
    """The page about a container shows the grants that the broker would find for it."""
    names = ("ml", "ml-a", "ml-a-b", "a-ml", "models", "m", "aaa", "$web", "$logs")
    for pattern in (
        "ml",
        "ml-*",
        "*-ml",
        "m*l",
        "*m*",
        "a*a*a",
        "*a*a",
        "$web",
        "*web",
        "m*:x",
        "*-*-*",
        "*els",
        "mo*ls",
    ):
        for name in names:
            system = name.startswith("$") and pattern != name
            assert reaches(pattern, name) is (Pattern(pattern, "containers").matches(name) and not system), (
                pattern,
                name,
            )


def test_a_pattern_of_many_stars_ends() -> None:
    """Whatever a grant says, the page about a resource comes; by a regular expression this would last for years."""
    assert not reaches("a*" * 250 + "b", "a" * 63)
