"""Starts the servers of the bench, each pinned to its cores, and asks them one honest call."""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from bench.load import BenchError
from bench.scene import CONTAINER, KEY, REQUEST
from broker.devstack.ca import make_ca
from broker.devstack.ports import free_port
from broker.devstack.process import Child, tls_ready
from valetkey.v1 import token_service_pb2, token_service_pb2_grpc

_PROBE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    ca_file: Path
    child: Child

    def probe(self) -> token_service_pb2.IssueTokenResponse:
        """Makes one call as a client does. Raises BenchError unless a token for the right container comes back."""
        credentials = grpc.ssl_channel_credentials(self.ca_file.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{self.port}", credentials) as channel:
            try:
                answer = token_service_pb2_grpc.TokenServiceStub(channel).IssueToken(
                    REQUEST,
                    timeout=_PROBE_SECONDS,
                    wait_for_ready=True,
                    metadata=(("authorization", f"Bearer {KEY}"),),
                )
            except grpc.RpcError as error:
                raise BenchError(f"{self.name} refused the bench's call: {error}") from None
        if answer.resource.resource_id != f"az://{CONTAINER}" or "sig=" not in answer.sas_token:
            raise BenchError(f"{self.name} answered something else than a token for {CONTAINER}")
        return answer

    def cpu_seconds(self) -> float:
        """Returns the processor time that the server has taken, its own and the kernel's for it (proc(5))."""
        stat = Path(f"/proc/{self.child.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def issued(self) -> int:
        """Returns how many tokens the broker has recorded."""
        with self.child.log_file.open("rb") as log:
            return sum(b'"token issued"' in line for line in log)


class Hall:
    """Where the servers of one run live: one directory, one certificate. `close` ends all that were started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        authority = make_ca(directory, "Valet Key bench CA")
        self._ca_file = authority.ca_file
        self._certificate, self._key = authority.issue("server", directory)
        self._children: list[Child] = []

    async def start(
        self, name: str, kind: str, *, cpus: str, port: int | None = None, options: Sequence[str | Path] = ()
    ) -> Server:
        """Starts a server, `echo` or `broker`, on the cores `cpus`."""
        port = port or free_port()
        directory = self.directory / name
        directory.mkdir()
        argv = [
            *("taskset", "-c", cpus, sys.executable, "-m", "bench.server", kind),
            *("--directory", directory, "--port", str(port)),
            *("--certificate", self._certificate, "--key", self._key, *options),
        ]
        child = await Child.start(
            name,
            argv,
            log_file=directory / "server.log",
            ready=tls_ready(port, self._ca_file),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        self._children.append(child)
        return Server(name, port, self._ca_file, child)

    async def close(self) -> None:
        """Ends every server."""
        await asyncio.gather(*(child.stop() for child in self._children))
