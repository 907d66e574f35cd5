"""A server under load, in a process of its own: `python -m bench.server echo|broker …`. SIGTERM ends it."""

import argparse
import asyncio
import cProfile
import pstats
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import uvloop

from bench.scene import KEY_REQUESTS, LocalKeyCloud, Place, filled_store, new_connector, new_grant, server_settings
from bench.sweep import Sweeper
from valetkey.v1 import token_service_pb2, token_service_pb2_grpc
from valetkey_broker.app import open_core
from valetkey_broker.concurrency.garbage_collection import keep_collections_short
from valetkey_broker.metrics.http_server import OneWorker, metrics_port
from valetkey_broker.metrics.worker_channel import Answerer
from valetkey_broker.observability.logging import configure_logging
from valetkey_broker.rpc.server import server_options
from valetkey_broker.rpc.server_certificate import ServerCertificate
from valetkey_broker.rpc.tls_credentials import server_credentials
from valetkey_broker.rpc.when_to_listen import Listen
from valetkey_broker.serving import running_server
from valetkey_broker.settings import Settings

_PROFILE_LINES = 15


class Echo(token_service_pb2_grpc.TokenServiceServicer):
    """Answers every call with the same message: what gRPC itself costs for these sizes."""

    def __init__(self, answer: token_service_pb2.IssueTokenResponse) -> None:
        self._answer = answer
        self._never = asyncio.Event()  # A future that only the waiting task knows would be garbage with it.

    async def IssueToken(self, request: Any, context: Any) -> token_service_pb2.IssueTokenResponse:  # noqa: N802 (gRPC's naming)
        """Answers."""
        return self._answer

    async def WatchToken(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Answers once, and says nothing more."""
        yield token_service_pb2.WatchTokenResponse(token=self._answer)
        await self._never.wait()


async def serve_echo(settings: Settings, message: token_service_pb2.IssueTokenResponse, stop: asyncio.Event) -> None:
    """Serves the echo, with the broker's own server options and certificate."""
    server = grpc.aio.server(options=server_options(settings.server, shared_port=False))
    token_service_pb2_grpc.add_TokenServiceServicer_to_server(Echo(message), server)
    server.add_secure_port(
        f"{settings.server.host}:{settings.server.port}", server_credentials(ServerCertificate(settings.server))
    )
    await server.start()
    keep_collections_short()
    await stop.wait()
    await server.stop(1)


async def serve_broker(
    settings: Settings, arguments: argparse.Namespace, stop: asyncio.Event, *, metrics: Answerer | None
) -> None:
    """Serves the real broker; only Vault and Azure's side of the network are stood in for. SIGUSR1 toggles sweeps."""
    directory: Path = arguments.directory
    cloud = LocalKeyCloud(
        settings.profiles()[settings.default_cloud], notes=directory / KEY_REQUESTS, seconds=arguments.azure_seconds
    )
    async with open_core(settings, store=await filled_store(), cloud=cloud) as core:
        await core.repository.load()
        await core.connector_admin.create(new_connector(), created_by="bench")
        await core.grants.create(new_grant(), created_by="bench")
        sweeper = Sweeper(settings.profiles()[settings.default_cloud], directory / "sweeps")
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, sweeper.toggle)
        listen = Listen.ONCE_VAULT_WAS_TRIED if arguments.shared_port else Listen.AT_ONCE
        async with running_server(settings, core, listen=listen, metrics=metrics):
            keep_collections_short()
            await stop.wait()


async def _serve(arguments: argparse.Namespace, answer: bytes, profiler: cProfile.Profile | None) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = server_settings(
        Place(
            arguments.directory,
            arguments.port,
            arguments.certificate,
            arguments.key,
            arguments.ledger,
            arguments.jwks,
            arguments.client_ca,
            arguments.certificate_port,
            arguments.metrics_port,
        )
    )
    configure_logging(settings.logging.format, settings.logging.level)
    if profiler is not None:
        profiler.enable()
    if arguments.kind == "echo":
        await serve_echo(settings, token_service_pb2.IssueTokenResponse.FromString(answer), stop)
    else:
        alone = OneWorker()
        with metrics_port(settings.metrics, alone):
            metrics = Answerer(alone.asker.theirs)
            brokers = [serve_broker(settings, arguments, stop, metrics=metrics)]
            if arguments.beside:
                brokers.append(serve_broker(_beside(arguments), arguments, stop, metrics=None))
            await asyncio.gather(*brokers)


def _beside(arguments: argparse.Namespace) -> Settings:
    """Returns the settings of a second broker in the same process, which tells no metrics."""
    directory: Path = arguments.directory / "beside"
    directory.mkdir()
    return server_settings(Place(directory, arguments.beside, arguments.certificate, arguments.key))


def main() -> None:
    """Runs one server until SIGTERM. With `--profile FILE` writes there what took its own time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("echo", "broker"))
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--answer", type=Path)
    parser.add_argument("--ledger", default="")
    parser.add_argument("--jwks", type=Path)
    parser.add_argument("--client-ca", type=Path)
    parser.add_argument("--certificate-port", type=int, default=0)
    parser.add_argument("--shared-port", action="store_true")
    parser.add_argument("--metrics-port", type=int)
    parser.add_argument("--beside", type=int, help="the port of a second broker, without metrics, in the same process")
    parser.add_argument("--azure-seconds", type=float, default=0.0)
    parser.add_argument("--profile", type=Path)
    arguments = parser.parse_args()
    profiler = cProfile.Profile() if arguments.profile else None
    answer = arguments.answer.read_bytes() if arguments.answer else b""
    uvloop.run(_serve(arguments, answer, profiler))
    if profiler is not None:
        profiler.disable()
        with arguments.profile.open("w", encoding="utf-8") as out:
            pstats.Stats(profiler, stream=out).sort_stats("tottime").print_stats(_PROFILE_LINES)


if __name__ == "__main__":
    main()
