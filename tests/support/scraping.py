"""Scrapes the port for metrics, as Prometheus does, and reads what it says."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scrape:
    """One scrape."""

    text: str

    @property
    def samples(self) -> list[Any]:
        """Every sample: `name`, `labels`, `value`."""
        return [sample for family in text_string_to_metric_families(self.text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        """Returns the value of the one sample with these labels, None where there is none."""
        found = [each for each in self.samples if each.name == name and labels.items() <= each.labels.items()]
        assert len(found) <= 1, found
        return float(found[0].value) if found else None


def get(port: int, path: str) -> tuple[int, str]:
    """Returns code and text of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def scrape(port: int) -> Scrape:
    """Returns what is told now, or was half a second ago."""
    status, text = await asyncio.to_thread(get, port, "/metrics")
    assert status == 200
    return Scrape(text)


async def until_scraped(port: int, told: Callable[[Scrape], object]) -> Scrape:
    """Scrapes until `told` is content with it."""
    async with asyncio.timeout(60):
        while not told(found := await scrape(port)):  # noqa: ASYNC110 (it is scraped, as Prometheus does)
            await asyncio.sleep(0.1)
    return found
