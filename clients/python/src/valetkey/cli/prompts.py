"""Questions to a person at a terminal: asked on standard error, answered on standard input."""

import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence

from valetkey.checklist_values import Check
from valetkey.cli.checklist_views import print_checks
from valetkey.cli.screen import Screen, printable
from valetkey.errors import InvalidArgumentError, ValetKeyError

_READABLE = 100
_ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


class Left(Exception):  # noqa: N818 (no error: somebody went away)
    """The person left the questions, by Ctrl-D."""


class Prompts:
    """Asks until the answer can be used."""

    def __init__(self, screen: Screen) -> None:
        """Raises InvalidArgumentError where there is nobody to ask."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise InvalidArgumentError("--interactive: there is no terminal to ask at; give it all by options")
        self.screen = screen

    def say(self, text: str) -> None:
        """Explains something, wrapped between words."""
        width = min(shutil.get_terminal_size().columns, _READABLE)
        hang = len(text) - len(text.lstrip()) + 3 if text.startswith(" ") else 0
        lines = textwrap.wrap(
            printable(text), width, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False
        )
        self.show("\n".join(lines))

    def show(self, text: str) -> None:
        """Shows a line as it is, to be copied."""
        sys.stderr.write(f"{printable(text)}\n")

    def heading(self, text: str) -> None:
        """Begins a step."""
        self.screen.step(text)

    def checks(self, checks: Sequence[Check]) -> None:
        """Shows what was checked, line by line."""
        if not self.screen.as_json:
            print_checks(self.screen, checks, aside=True)

    def ask(self, question: str, *, default: str = "", check: Callable[[str], None] | None = None) -> str:
        """Returns a line that `check` lets pass, stripped; empty where Enter is pressed and there is no default."""
        while True:
            given = self._line(f"{question}{f' [{default}]' if default else ''}: ") or default
            try:
                if check is not None:
                    check(given)
            except ValetKeyError as error:
                self.say(error.message)
                continue
            return given

    def required(self, question: str, *, check: Callable[[str], None] | None = None) -> str:
        """Returns a line that is not empty."""

        def checked(given: str) -> None:
            if not given:
                raise InvalidArgumentError("that is needed; Ctrl-C leaves, and nothing is stored")
            if check is not None:
                check(given)

        return self.ask(question, check=checked)

    def choose(self, question: str, words: Sequence[str], *, default: str = "") -> str:
        """Returns one of the words, answered by its number or itself."""
        chosen: list[str] = []

        def checked(given: str) -> None:
            plain = given.replace("_", "-").lower()
            if plain.isdecimal() and 0 < int(plain) <= len(words):
                chosen[:] = [words[int(plain) - 1]]
            elif plain in words:
                chosen[:] = [plain]
            else:
                raise InvalidArgumentError(f"expected a number from 1 to {len(words)}, or the word itself")

        self.ask(question, default=default, check=checked)
        return chosen[0]

    def yes(self, question: str, *, default: bool) -> bool:
        """Returns whether the answer is yes."""
        while True:
            given = self._line(f"{question} [{'Y/n' if default else 'y/N'}] ").lower()
            if given in _ANSWERS:
                return _ANSWERS[given]
            if not given:
                return default
            self.say("expected y or n, or Enter for the one in capitals")

    def _line(self, prompt: str) -> str:
        sys.stderr.write(printable(prompt))
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise Left
        return line.strip()
