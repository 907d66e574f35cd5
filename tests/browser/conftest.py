"""A real browser, chromium, before a console and a broker that run in this process."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.console_thread import ConsoleThread, console_in_thread

ROOT = Path(__file__).parents[2]
# Of an environment of its own (Makefile): after ours, so that what both have is ours.
sys.path.append(str(ROOT / ".venv-browser" / "lib"))
# No sandbox: tests may run as root, who has none. Nothing else leaves the machine or asks for what is not there.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# Of the module, and not of the session: while the driver runs, this thread has an event loop that runs, and no test
# can have another.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser, started once."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=list(_FLAGS), timeout=120_000
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleThread]:
    """One console for all tests here."""
    with console_in_thread(tmp_path_factory.mktemp("console")) as running:
        yield running
