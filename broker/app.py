"""The composition root: builds everything, in order, and closes it in reverse, also after a start that failed."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from broker import __version__
from broker.adapters.azure import AzureCloud
from broker.adapters.vault import VaultStateStore
from broker.authn.api_key import ApiKeyAuthenticator
from broker.authn.key_admin import ApiKeyAdmin
from broker.connectors.registry import ConnectorRegistry
from broker.issuing.choose import ConnectorChooser
from broker.issuing.delegation_keys import DelegationKeys
from broker.issuing.directory import ContainerDirectory
from broker.issuing.issuer import Issuer
from broker.ledger import LogLedger
from broker.ports import Clock, Cloud, Ledger, StateStore
from broker.rpc.server import RpcServer, UseCases
from broker.settings import Settings
from broker.state.memory import Memory
from broker.state.repository import StateRepository
from broker.state.sync import StateSync


@dataclass(frozen=True, slots=True)
class Core:
    """The broker without its server: what commands that work on Vault directly need."""

    store: StateStore
    cloud: Cloud
    memory: Memory
    repository: StateRepository
    registry: ConnectorRegistry
    api_keys: ApiKeyAdmin
    keys: DelegationKeys
    directory: ContainerDirectory
    issuer: Issuer
    clock: Clock


@contextlib.asynccontextmanager
async def open_core(
    settings: Settings,
    *,
    store: StateStore | None = None,
    cloud: Cloud | None = None,
    ledger: Ledger | None = None,
    clock: Clock = time.time,
) -> AsyncIterator[Core]:
    """Builds the core; nothing is connected yet. Tests hand in fakes of the ports."""
    profiles = settings.profiles()
    issuing = settings.issuing
    async with contextlib.AsyncExitStack() as closing:
        store = store or VaultStateStore(settings.vault)
        closing.push_async_callback(store.close)
        cloud = cloud or AzureCloud(profiles)
        closing.push_async_callback(cloud.close)
        memory = Memory()

        async def gone(connector_uid: str) -> None:
            keys.forget(connector_uid)
            directory.forget(connector_uid)
            await cloud.forget(connector_uid)

        repository = StateRepository(store, memory, gone)
        closing.push_async_callback(repository.close)
        keys = DelegationKeys(
            cloud=cloud,
            credential=repository.credential,
            clock=clock,
            key_seconds=issuing.delegation_key_seconds,
            skew_seconds=issuing.clock_skew_seconds,
            timeout_seconds=issuing.cloud_timeout_seconds,
        )
        closing.push_async_callback(keys.close)
        directory = ContainerDirectory(
            cloud=cloud,
            credential=repository.credential,
            clock=clock,
            fresh_seconds=issuing.discovery_seconds,
            timeout_seconds=issuing.cloud_timeout_seconds,
        )
        closing.push_async_callback(directory.close)
        registry = ConnectorRegistry(
            repository=repository,
            memory=memory,
            cloud=cloud,
            profiles=profiles,
            default_cloud=settings.default_cloud,
            clock=clock,
            timeout_seconds=issuing.cloud_timeout_seconds,
        )
        closing.push_async_callback(registry.close)
        issuer = Issuer(
            memory=memory,
            chooser=ConnectorChooser(profiles, directory),
            keys=keys,
            cloud=cloud,
            ledger=ledger or LogLedger(),
            clock=clock,
            settings=issuing,
        )
        yield Core(
            store=store,
            cloud=cloud,
            memory=memory,
            repository=repository,
            registry=registry,
            api_keys=ApiKeyAdmin(repository, memory, clock),
            keys=keys,
            directory=directory,
            issuer=issuer,
            clock=clock,
        )


@contextlib.asynccontextmanager
async def running_server(settings: Settings, core: Core, *, shared_port: bool = False) -> AsyncIterator[RpcServer]:
    """Serves `core` while the context lasts; ends gracefully."""
    server: RpcServer | None = None

    def on_change(usable: bool) -> None:
        if server is not None:
            server.set_serving(usable)

    sync = StateSync(core.store, core.repository, settings.vault, on_change)
    use_cases = UseCases(
        issuer=core.issuer,
        registry=core.registry,
        api_keys=core.api_keys,
        authenticator=ApiKeyAuthenticator(core.memory, core.clock),
        memory=core.memory,
        sync=sync,
    )
    server = RpcServer(settings.server, use_cases, shared_port=shared_port)
    await server.start()
    syncing = asyncio.create_task(sync.run(), name="state-sync")
    try:
        yield server
    finally:
        await server.stop()
        syncing.cancel()
        await asyncio.gather(syncing, return_exceptions=True)


async def serve(settings: Settings, *, stop: asyncio.Event | None = None, shared_port: bool = False) -> None:
    """Serves until SIGTERM, SIGINT or `stop`. Raises ConfigurationError where it cannot start."""
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log = structlog.get_logger()
    async with open_core(settings) as core, running_server(settings, core, shared_port=shared_port):
        log.info("listening", host=settings.server.host, port=settings.server.port, version=__version__)
        await stop.wait()
        log.info("stopping", grace_seconds=settings.server.grace_seconds)
    log.info("stopped")
