"""A real browser, chromium, before a console and a broker that run in this process."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.chromium import LAUNCH, lend_playwright
from support.console_thread import ConsoleThread, console_in_thread

lend_playwright()


# Of the module, and not of the session: while the driver runs, this thread has an event loop that runs, and no test
# can have another.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser, started once."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(**LAUNCH)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleThread]:
    """One console for all tests here."""
    with console_in_thread(tmp_path_factory.mktemp("console")) as running:
        yield running
