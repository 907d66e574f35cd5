"""An agent in this process."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valetkey import AsyncTokenSource
from valetkey.cli.agent.agent import Agent
from valetkey.cli.agent.configuration_file import read_plan
from valetkey.cli.agent.log import AgentLog
from valetkey.cli.agent.sources_and_proxies import Shared
from valetkey.proxy import trust
from valetkey.testing import FakeBroker


@dataclass
class RunningAgent:
    """An agent: its folder, what it has logged, and the signals it knows."""

    folder: Path
    out: io.StringIO = field(default_factory=io.StringIO)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.out.getvalue().splitlines()]

    def says(self, text: str) -> bool:
        """Tells whether a line of the log, any field of it, holds this."""
        return any(text in str(value) for line in self.lines for value in line.values())

    @property
    def ready(self) -> bool:
        """Whether its readiness file is there."""
        return (self.folder / "ready").exists()

    def files(self) -> list[str]:
        """Returns the names of all files in its folder."""
        return sorted(path.name for path in self.folder.iterdir() if path.is_file())

    def read(self, name: str) -> str:
        """Returns an output."""
        return (self.folder / name).read_text()


def configure(folder: Path, text: str) -> Path:
    """Writes a configuration with a readiness file."""
    file = folder / "agent.toml"
    file.write_text(f'readiness_file = "ready"\n{text}')
    return file


def models(*more: str, ttl: str = "15m", outputs: tuple[str, ...] = ('path = "sas"\nformat = "sas"',)) -> str:
    """Returns the configuration of one resource."""
    tables = "".join(f"[[resource.output]]\n{output}\n" for output in outputs)
    first = f'[[resource]]\nresource = "az://models"\npermissions = ["read", "list"]\nttl = "{ttl}"\n'
    return first + "".join(f"{line}\n" for line in more) + tables


@asynccontextmanager
async def agent(fake: FakeBroker, folder: Path, text: str) -> AsyncIterator[RunningAgent]:
    """Runs an agent by a configuration while the block runs, then stops it as SIGTERM does."""
    file = configure(folder, text)
    known = {"endpoint": fake.endpoint, "ca_file": fake.ca_file, "api_key_file": fake.api_key_file, "timeout": 10}
    running = RunningAgent(folder)
    log = AgentLog(running.out)
    shared = Shared(lambda scope: AsyncTokenSource(**scope.arguments(), **known), trust)
    task = asyncio.create_task(
        Agent(read_plan(file), shared, log).run(running.stopped, running.reload, lambda: read_plan(file))
    )
    try:
        yield running
    finally:
        running.stopped.set()
        await task


async def soon(holds: Callable[[], Any], seconds: float = 60) -> None:
    """Waits until something holds; fails where it does not come to that."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 (files have no events)
            await asyncio.sleep(0.02)
