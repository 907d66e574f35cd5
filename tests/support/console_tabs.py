"""Tabs of a real browser at the console, which notice what a page does wrong by itself."""

import contextlib
from collections.abc import Iterator
from typing import Any

from support.chromium import ENVIRONMENT
from support.console_thread import ConsoleThread

_AXE = ENVIRONMENT / "node_modules" / "axe-core" / "axe.min.js"
_SERIOUS = ("serious", "critical")
# Milliseconds that a page may take on a machine with other work.
PATIENCE = 60_000


class Tab:
    """One tab; `faults` is what the browser complained of: refused scripts and styles, errors of scripts."""

    def __init__(self, context: Any, console: ConsoleThread) -> None:
        self.console = console
        self.faults: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))

    def _note(self, kind: str, text: str) -> None:
        # A refusal that a page shows is an error to the browser's console, too.
        if kind == "error" and "Failed to load resource: the server responded with a status of 4" not in text:
            self.faults.append(text)

    def forgive(self, *words: str) -> None:
        """Takes back complaints with one of these words in them, which the test itself brought about."""
        self.faults = [each for each in self.faults if not any(word in each for word in words)]

    def open(self, path: str) -> Any:
        """Opens one of our pages."""
        return self.page.goto(self.console.url + path)

    def log_in(self, key: str, path: str = "/") -> None:
        """Logs in by an API key, as people do, and ends at `path`."""
        self.open(path)
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Log in").last.click()
        self.page.wait_for_url(self.console.url + path)

    def serious_faults(self) -> list[str]:
        """Returns what axe calls serious or critical on this page."""
        found = self.page.evaluate(f"{_AXE.read_text(encoding='utf-8')}; axe.run(document)")
        return [
            f"{each['id']}: {[node['html'][:160] for node in each['nodes']][:3]}"
            for each in found["violations"]
            if each["impact"] in _SERIOUS
        ]

    def overflow(self) -> int:
        """Returns by how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@contextlib.contextmanager
def tab(chromium: Any, console: ConsoleThread, **options: Any) -> Iterator[Tab]:
    """Opens a browser of nobody yet, with one tab; it must end without faults."""
    context = chromium.new_context(ignore_https_errors=True, **options)
    try:
        opened = Tab(context, console)
        yield opened
        assert opened.faults == []
    finally:
        context.close()
