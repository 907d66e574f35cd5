"""`valetkey-broker` as an operator runs it: a process of its own, with its files, its output and its end."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support import children
from support.warm import WarmCommand, run_installed
from valetkey_broker.adapters.azure.sdk_preload import LATE_MODULES
from valetkey_broker.settings import VaultSettings
from valetkey_devstack.ca import make_ca
from valetkey_devstack.free_ports import free_port

COMMAND = str(Path(sys.executable).with_name("valetkey-broker"))
# Alembic and what is PostgreSQL's come in when a ledger is opened.
WARM_BROKER = WarmCommand(
    "support.warm_broker:main",
    "valetkey_broker.*",
    "alembic.command",
    "psycopg",
    "sqlalchemy.dialects.postgresql",
    *LATE_MODULES,
)
_PATIENCE_SECONDS = 150.0
Sections = dict[str, dict[str, Any]]


def write_config(directory: Path, on: VaultSettings | None = None, **sections: dict[str, Any]) -> Path:
    """Writes settings that work, on a free port, and returns their file; `sections` override single values.

    `on` is the Vault to use; without it nothing answers at its address.
    """
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = make_ca(directory).issue("broker", directory)
    for name in ("role_id", "secret_id"):
        (directory / name).write_text("unused")
        (directory / name).chmod(0o600)
    away = {
        "address": f"https://127.0.0.1:{free_port()}",
        "role_id_file": directory / "role_id",
        "secret_id_file": directory / "secret_id",
    }
    values: Sections = {
        "server": {
            "port": free_port(),
            "tls_cert_file": certificate,
            "tls_key_file": key,
            "grace_seconds": 3,
        },
        "vault": {**(on.model_dump(exclude_none=True) if on else away), "poll_seconds": 0.2},
        "ledger": {"url": f"sqlite:///{directory / 'ledger.db'}"},
    }
    for section, changes in sections.items():
        values[section] = {**values.get(section, {}), **changes}
    text = "\n".join(
        f"[{section}]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in fields.items())
        for section, fields in values.items()
    )
    config = directory / "broker.toml"
    config.write_text(text)
    return config


def _toml(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)


def run(
    *arguments: str | Path, env: Mapping[str, str] | None = None, installed: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs a command of `valetkey-broker` to its end; with `installed`, as pip has made it."""
    environment = children.unmeasured({**os.environ, **(env or {})})
    runner = run_installed if installed else WARM_BROKER.run
    return runner([COMMAND, *arguments], environment=environment, patience=_PATIENCE_SECONDS)


@dataclass
class Serving:
    """A `valetkey-broker serve` that was started; it may have ended."""

    process: children.Process
    config: Path
    port: int
    out: Path
    err: Path

    @property
    def ca(self) -> bytes:
        """The certificate to trust."""
        return (self.config.parent / "ca.pem").read_bytes()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it logged so far."""
        return [json.loads(line) for line in self.out.read_text().splitlines() if line.startswith("{")]

    @property
    def said(self) -> str:
        """What it said to people, on standard error."""
        return self.err.read_text()

    def events(self, event: str) -> list[dict[str, Any]]:
        """Returns the log lines of one event."""
        return [line for line in self.lines if line["event"] == event]

    async def logged(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        """Waits until an event was logged so often; fails where the process ends before."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(found := self.events(event)) < times:
            ended = self.process.poll()
            assert ended is None, f"ended with {ended} before {event!r}: {self.said}\n{self.out.read_text()}"
            assert time.monotonic() < deadline, f"no {event!r}: {self.said}\n{self.out.read_text()}"
            await asyncio.sleep(0.05)
        return found

    async def ended(self, within: float = _PATIENCE_SECONDS) -> int:
        """Waits for the end and returns the exit code; fails after `within` seconds."""
        async with asyncio.timeout(within):
            while (code := self.process.poll()) is None:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.02)
        return code

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process itself, not to its workers."""
        self.process.send_signal(number)

    def workers(self) -> dict[int, int]:
        """Returns the newest process id of each worker, by its number, as logged."""
        return {line["worker"]: line["pid"] for line in self.events("worker started")}

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        """Gives a fresh connection."""
        # Without a pool of its own, a channel would share its connection with the others of this process.
        options = [("grpc.use_local_subchannel_pool", 1)]
        credentials = grpc.ssl_channel_credentials(self.ca)
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options=options) as channel:
            yield channel

    async def healthy(self) -> bool:
        """Asks health on a connection of its own. Raises AioRpcError where nobody answers."""
        async with self.channel() as channel:
            request = health_pb2.HealthCheckRequest()
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=30)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def start(config: Path, *arguments: str, installed: bool = False) -> Serving:
    """Starts `serve`, with `installed` as pip has made it; the caller ends it."""
    number = len(list(config.parent.glob("serve-*.out")))
    out, err = (config.parent / f"serve-{number}.{kind}" for kind in ("out", "err"))
    argv = [COMMAND, "serve", "--config", str(config), *arguments]
    process: children.Process
    with out.open("wb") as stdout, err.open("wb") as stderr, Path(os.devnull).open("rb") as nothing:
        if installed:
            process = children.start(argv, stdin=nothing, stdout=stdout, stderr=stderr, start_new_session=True)
        else:
            files = [file.fileno() for file in (nothing, stdout, stderr)]
            process = WARM_BROKER.start(argv, environment=os.environ, files=files, new_session=True)
    port = next(line for line in config.read_text().splitlines() if line.startswith("port = "))
    return Serving(process, config, int(port.removeprefix("port = ")), out, err)


@contextlib.contextmanager
def serving(config: Path, *arguments: str, installed: bool = False) -> Iterator[Serving]:
    """Runs `serve` while the context lasts, and leaves none of its processes behind."""
    broker = start(config, *arguments, installed=installed)
    try:
        yield broker
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(broker.process.pid, signal.SIGKILL)
        broker.process.wait()


def listens(pid: int, port: int) -> bool:
    """Tells whether a process has a listening socket on `port` (Linux)."""
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                listening.add(f"socket:[{fields[9]}]")
    return not listening.isdisjoint(_open_files(pid))


def _open_files(pid: int) -> Iterator[str]:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(link.readlink())


def alive(pid: int) -> bool:
    """Tells whether a process runs; one that ended and was not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
