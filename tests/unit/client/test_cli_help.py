"""What --help says of every command, without showing it: a hundred of them would take a second."""

from collections.abc import Iterator

from rich.markup import render
from typer.main import get_command

from support.cli_runner import Runner
from valetkey.cli.app import app


def texts() -> Iterator[str]:
    """Yields each text that --help shows of any command."""
    commands = [get_command(app)]
    for command in commands:
        commands += getattr(command, "commands", {}).values()
        yield from filter(None, (command.help, *(getattr(option, "help", None) for option in command.params)))


def test_no_help_is_taken_for_markup() -> None:
    """Protects --help itself: brackets make a text disappear, or with a slash the whole command fail."""
    shown = list(texts())
    assert len(shown) > 300
    assert [text for text in shown if render(text).plain != text] == []


def test_help_of_one_command(bare: Runner) -> None:
    """Protects the one that failed."""
    ran = bare("grant", "explain", "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "az://CONTAINER/BLOB" in ran.out
