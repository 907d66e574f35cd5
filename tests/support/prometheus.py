"""A real Prometheus for tests, on loopback; it scrapes often, for a test does not wait for minutes."""

import asyncio
import contextlib
import json
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import children
from valetkey_devstack.free_ports import free_port

_PATIENCE_SECONDS = 90


@dataclass(frozen=True)
class Prometheus:
    """A server that runs."""

    port: int

    async def get(self, path: str, **query: str) -> Any:
        """Returns the data of an answer of its API. Fails where it refuses."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        answer = json.loads(await asyncio.to_thread(_read, url))
        assert answer["status"] == "success", answer
        return answer["data"]

    async def query(self, expression: str) -> list[Any]:
        """Returns what a query finds now. Fails where it is none."""
        return list((await self.get("query", query=expression))["result"])

    async def until_found(self, expression: str) -> list[Any]:
        """Returns what a query finds, as soon as it finds something."""
        for _ in range(_PATIENCE_SECONDS * 5):
            if found := await self.query(expression):
                return found
            await asyncio.sleep(0.2)
        raise AssertionError(f"nothing is found by {expression}")


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (of this file's own making)
        return bytes(answer.read())


@contextlib.asynccontextmanager
async def running_prometheus(directory: Path, target: int, rules: Path) -> AsyncIterator[Prometheus]:
    """Runs one that scrapes the port `target` and evaluates `rules`."""
    config = directory / "prometheus.json"  # Which is YAML, too.
    scraped = {"job_name": "valetkey", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    intervals = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "500ms"}
    config.write_text(json.dumps({"global": intervals, "rule_files": [str(rules)], "scrape_configs": [scraped]}))
    port = free_port()
    log = directory / "prometheus.log"
    with log.open("wb") as out:
        process = children.start(
            [
                *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"),
                *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
            ],
            stdout=out,
            stderr=out,
        )
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(_read, f"http://127.0.0.1:{port}/-/ready")
                    break
                await asyncio.sleep(0.1)
        yield Prometheus(port)
    finally:
        process.kill()
        process.wait()
