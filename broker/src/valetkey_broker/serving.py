"""Serves the core: the server with its services, and what runs beside it, closed in reverse."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from valetkey_broker.adapters.azure import AUTH_METHODS, preload_sdks
from valetkey_broker.api.methods import METHODS
from valetkey_broker.api.services import UseCases, build_services
from valetkey_broker.app import Core
from valetkey_broker.concurrency.background_jobs import keep_going
from valetkey_broker.concurrency.first_of import first_of
from valetkey_broker.expiry.daily_warning import DailyWarning
from valetkey_broker.expiry.wiring import build_endings
from valetkey_broker.issuing.issuing_left_in_outage import IssuingLeft
from valetkey_broker.issuing.token_stream import TokenWatcher
from valetkey_broker.limits import Slots, Throttle
from valetkey_broker.metrics.wiring import Live, tell_metrics
from valetkey_broker.metrics.worker_channel import Answerer
from valetkey_broker.model import Principal
from valetkey_broker.recording import MissingOutcomes
from valetkey_broker.rpc.call_recorder import Recorder
from valetkey_broker.rpc.guard import Guard
from valetkey_broker.rpc.ledger_health import follow_ledger
from valetkey_broker.rpc.server import RpcServer
from valetkey_broker.rpc.tls_credentials import certificate_port
from valetkey_broker.rpc.when_to_listen import Listen
from valetkey_broker.settings import Settings, check_certificate
from valetkey_broker.state.background_sync import StateSync


@contextlib.asynccontextmanager
async def running_server(
    settings: Settings,
    core: Core,
    *,
    listen: Listen = Listen.AT_ONCE,
    stop: asyncio.Event | None = None,
    metrics: Answerer | None = None,
) -> AsyncIterator[RpcServer]:
    """Serves `core` while the context lasts, its port shared unless AT_ONCE; never once `stop` is set before."""
    server: RpcServer | None = None

    def on_change(usable: bool) -> None:
        if server is not None:
            server.set_serving(usable)

    recorder = Recorder(core.ledger, core.clock)
    sync = StateSync(core.store, core.repository, settings.vault, on_change)
    throttle = Throttle(settings.limits, core.clock)

    def admit(principal: Principal) -> None:
        sync.require_usable()
        throttle.ask(principal)

    endings = build_endings(settings, core.store, core.rotating.objects, core.cloud.maker, core.clock)
    streams = Slots(settings.limits.streams)
    services = build_services(
        UseCases(
            issuer=core.issuer,
            watcher=TokenWatcher(
                issuer=core.issuer,
                policy=core.policy,
                memory=core.memory,
                standing=core.authenticator.standing,
                refreshed=core.authenticator.refreshed,
                vouchers=core.authenticator.vouchers,
                admit=admit,
                clock=core.clock,
                auth_methods=AUTH_METHODS,
                keys_not_before=core.revoking.leases.keys_not_before,
            ),
            streams=streams,
            connector_admin=core.connector_admin,
            health=core.health,
            endings=endings,
            issuing_left=IssuingLeft(core.memory, core.keys, AUTH_METHODS, sync, core.clock),
            rotating=core.rotating,
            policy=core.policy,
            api_keys=core.api_keys,
            grants=core.grants,
            explainer=core.explainer,
            diagnoser=core.diagnoser,
            revoking=core.revoking,
            ledger=core.ledger,
            recorder=recorder,
            clock=core.clock,
            issuers=settings.authn.oidc,
        )
    )
    guard = Guard(
        methods=METHODS,
        authenticator=core.authenticator,
        require_usable=sync.require_usable,
        max_deadline_seconds=settings.server.max_deadline_seconds,
        max_calls=settings.server.max_calls,
        throttle=throttle,
        recorder=recorder,
        catching_up=core.repository.catching_up,
        figures=core.figures,
    )
    certificates, shared = certificate_port(settings.authn.mtls, core.trust), listen is not Listen.AT_ONCE
    server = RpcServer(settings.server, guard, services, shared_port=shared, certificates=certificates)
    check_certificate(settings.server.tls_cert_file, settings.server.tls_key_file)  # Said now, and not after the wait.
    await core.ledger.open()
    tasks: list[asyncio.Task[None]] = []
    try:
        if listen is Listen.AT_ONCE:
            await server.start()
        jobs: dict[str, Callable[[], Awaitable[None]]] = {
            "state-sync": partial(sync.run, preload_sdks),
            "refusals": recorder.refusals.run,
            "unfinished-changes": MissingOutcomes(core.ledger, core.clock, core.repository.being_changed).run,
            "key-revocations": core.revoking.keys.run,
            "ledger-health": partial(follow_ledger, core.ledger, server),
            "daily-warning": partial(DailyWarning(endings, settings.expiry.warn_days).run, sync.ready.wait),
            "rotations": core.rotating.run,
            "metrics": partial(tell_metrics, metrics, core, endings, Live(sync, server, guard, streams)),
        }
        tasks += [asyncio.create_task(keep_going(name, job), name=name) for name, job in jobs.items()]
        ready = sync.ready if listen is Listen.ONCE_READY else sync.attempted
        if listen is not Listen.AT_ONCE and await first_of(ready, stop):
            await server.start()
        yield server
    finally:
        await server.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await recorder.close()
