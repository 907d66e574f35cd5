"""Starts the servers of the bench, each pinned to its cores, and asks them one honest call."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import create_engine, make_url, text

from bench.evidence import KEY, make_evidence
from bench.load import BenchError
from bench.scene import CONTAINER, KEY_REQUESTS, REQUEST
from valetkey.v1 import token_service_pb2, token_service_pb2_grpc
from valetkey_devstack.ca import make_ca
from valetkey_devstack.child_process import Child, tls_ready
from valetkey_devstack.free_ports import free_port

_PROBE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    certificate_port: int
    ca_file: Path
    child: Child
    ledger: str

    def probe(self) -> token_service_pb2.IssueTokenResponse:
        """Makes one call as a client does. Raises BenchError unless a token for the right container comes back."""
        credentials = grpc.ssl_channel_credentials(self.ca_file.read_bytes())
        until = time.monotonic() + _PROBE_SECONDS
        with grpc.secure_channel(f"127.0.0.1:{self.port}", credentials) as channel:
            stub = token_service_pb2_grpc.TokenServiceStub(channel)
            while True:
                try:
                    answer = stub.IssueToken(
                        REQUEST,
                        timeout=_PROBE_SECONDS,
                        wait_for_ready=True,
                        metadata=(("authorization", f"Bearer {KEY}"),),
                    )
                    break
                except grpc.RpcError as error:
                    # A broker listens before it has read its state.
                    if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > until:
                        raise BenchError(f"{self.name} refused the bench's call: {error}") from None
                time.sleep(0.05)
        if answer.resource.resource_id != f"az://{CONTAINER}" or "sig=" not in answer.sas_token:
            raise BenchError(f"{self.name} answered something else than a token for {CONTAINER}")
        return answer

    def until_serving(self) -> None:
        """Waits until health says SERVING, without asking for a token. Raises BenchError where it does not."""
        credentials = grpc.ssl_channel_credentials(self.ca_file.read_bytes())
        until = time.monotonic() + _PROBE_SECONDS
        with grpc.secure_channel(f"127.0.0.1:{self.port}", credentials) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while True:
                told = health.Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS, wait_for_ready=True)
                if told.status == health_pb2.HealthCheckResponse.SERVING:
                    return
                if time.monotonic() > until:
                    raise BenchError(f"{self.name} does not serve")
                time.sleep(0.05)

    def cpu_seconds(self) -> float:
        """Returns the processor time that the server has taken, its own and the kernel's for it."""
        return cpu_seconds(self.child.pid)

    def key_requests(self) -> int:
        """Returns how often the broker has asked Azure's stand-in for a signing key."""
        notes = self.child.log_file.parent / KEY_REQUESTS
        return len(notes.read_bytes()) if notes.exists() else 0

    def issued(self) -> int:
        """Returns how many tokens are in the ledger; brokers that share it are counted together."""
        url = make_url(self.ledger)
        engine = create_engine(url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url)
        try:
            with engine.connect() as connection:
                return int(
                    connection.execute(text("SELECT count(*) FROM ledger_events WHERE kind = 'token-issued'")).scalar()
                    or 0
                )
        finally:
            engine.dispose()


def cpu_seconds(pid: int) -> float:
    """Returns the processor time that a process has taken, its own and the kernel's for it."""
    # Its clock, as clock_getcpuclockid(3) numbers it: in nanoseconds, where /proc counts in hundredths of a second.
    return time.clock_gettime(~pid << 3 | 2)


def to_core(pid: int, core: int) -> None:
    """Pins a process, all of its threads and its children; those that come later inherit it."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        to_core(int(child), core)


def environment_of(build: Path) -> dict[str, str]:
    """Returns the environment in which Python finds the modules of another build before ours."""
    places = (build / "tests", build, build / "broker" / "src", build / "clients" / "python" / "src")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}


class Hall:
    """Where the servers of one run live: one directory, one certificate. `close` ends all that were started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        authority = make_ca(directory, "Valet Key bench CA")
        self.ca_file = authority.ca_file
        self.evidence = make_evidence(directory)
        self._certificate, self._key = authority.issue("server", directory)
        self._children: list[Child] = []

    async def start(
        self,
        name: str,
        kind: str,
        *,
        cpus: str,
        port: int | None = None,
        ledger: str = "",
        options: Sequence[str | Path] = (),
        build: Path | None = None,
    ) -> Server:
        """Starts a server, `echo` or `broker`, on the cores `cpus`; its ledger `ledger` or a SQLite file.

        `build` is where another build's sources lie, see bench.earlier_build.
        """
        port, certificate_port = port or free_port(), free_port()
        directory = self.directory / name
        directory.mkdir()
        ledger = ledger or f"sqlite:///{directory / 'ledger.db'}"
        argv = [
            *("taskset", "-c", cpus, sys.executable, "-m", "bench.server", kind),
            *("--directory", directory, "--port", str(port), "--certificate-port", str(certificate_port)),
            *("--certificate", self._certificate, "--key", self._key, "--ledger", ledger),
            *("--jwks", self.evidence.jwks_file, "--client-ca", self.evidence.ca_file, *options),
        ]
        child = await Child.start(
            name,
            argv,
            log_file=directory / "server.log",
            ready=tls_ready(port, self.ca_file),
            env=None if build is None else environment_of(build),
            ready_within=60,
        )
        self._children.append(child)
        # The echo knows nobody, and asks for no certificate: what is compared comes after the handshakes.
        if kind == "echo":
            certificate_port = port
        return Server(name, port, certificate_port, self.ca_file, child, ledger)

    async def close(self) -> None:
        """Ends every server."""
        await asyncio.gather(*(child.stop() for child in self._children))
