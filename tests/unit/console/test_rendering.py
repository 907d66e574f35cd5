"""How values are told in pages and in commands: nothing hides in them, and a shell takes no more than was meant."""

import re
import shlex
import sys
import unicodedata

import pytest
import typer.main
from click.testing import CliRunner
from typer import Argument, Option, Typer

from valetkey_console.visits.rendering import STATIC, command, visible


def test_whatever_cannot_be_seen_is_written_out() -> None:
    """By the categories of Unicode as this Python knows them; letters and signs of every script stay."""
    kinds = ("Cf", "Co", "Cs", "Cc", "Zl", "Zp")
    hidden = "".join(each for each in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(each) in kinds)
    shown = visible(hidden)
    assert set(shown) - {"\t", "\n"} <= set("\\u{}0123456789abcdef")
    assert shown.count("\\u{") == len(hidden) - 2


@pytest.mark.parametrize(
    "hidden",
    [*"\u3164\u115f\u1160\uffa0\u2800\u034f\u17b4\u17b5\u180b\u180e\ufe0f\U000e0041\U000e0100"],
)
def test_so_are_blank_letters(hidden: str) -> None:
    """Two names that differ in them would look the same."""
    assert visible(f"a{hidden}b") == f"a\\u{{{ord(hidden):x}}}b"
    assert command("valetkey", "grant", "describe", of=f"a{hidden}b").endswith("'a?b'")


def test_what_can_be_read_stays() -> None:
    """Of any script."""
    text = "Ünïcode, ελληνικά, русский, עברית, العربية, हिन्दी, ไทย, 日本語, 한국어, 😀\n\t"
    assert visible(text) == text


def _app() -> Typer:
    app = Typer()

    @app.command()
    def create(name: str = Argument(), role: list[str] = Option([])) -> None:  # noqa: B008
        typer.echo(f"{name} {role}")

    @app.command()
    def delete() -> None:
        """Makes `create` a word of its own."""

    return app


@pytest.mark.parametrize("name", ["--role=admin", "-h", "--", "--help", "a b", "$(id)", "plain"])
def test_a_name_is_never_an_option(name: str) -> None:
    """The command makes of it what the page shows: a name."""
    (program, _, *words) = shlex.split(command("valetkey", "api-key", "create", "--role", "viewer", of=name))
    assert program == "valetkey"
    ran = CliRunner().invoke(typer.main.get_command(_app()), words)
    assert ran.output == f"{name} ['viewer']\n"


def test_lines_end_in_no_command() -> None:
    """A line end would be another command to a terminal that it is copied into."""
    assert command("valetkey", "grant", "describe", of="a\n\tb\r") == "valetkey grant describe 'a??b?'"


def test_what_is_shown_once_leaves_with_its_reader() -> None:
    """The script takes out of a page what the template of new keys marks; tests/browser sees it happen."""
    script = (STATIC / "console.js").read_text(encoding="utf-8")
    assert re.search(r'"pagehide".*?\[data-once\].*?remove\(\)', script, re.DOTALL)
    assert "<div data-once>" in (STATIC.parent / "templates" / "api_keys" / "made.html").read_text(encoding="utf-8")
