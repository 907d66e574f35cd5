"""Scrapes a broker's metrics in the background, as Prometheus does."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from support.scraping import get


@contextlib.contextmanager
def scraped(port: int, *, every_seconds: float) -> Iterator[Callable[[], int]]:
    """Scrapes while the context lasts; gives what returns the number of lines of the last scrape."""
    over, last = threading.Event(), [0]

    def scrape() -> None:
        while True:
            last[0] = len(get(port, "/metrics")[1].splitlines())
            if over.wait(every_seconds):
                return

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield lambda: last[0]
    finally:
        over.set()
        thread.join()
