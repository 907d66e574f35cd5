"""Puts together what a worker tells of itself."""

from dataclasses import dataclass
from typing import Protocol

from valetkey_broker.connectors.connector_health import ConnectorHealth
from valetkey_broker.expiry.endings import Endings
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.limits import Slots
from valetkey_broker.metrics.ending_figures import EndingFigures
from valetkey_broker.metrics.readings import Sources
from valetkey_broker.metrics.worker_channel import Answerer
from valetkey_broker.metrics.worker_metrics import WorkerMetrics
from valetkey_broker.observability.counters import LAG_SECONDS, Figures, Histogram
from valetkey_broker.ports import Clock, Ledger, StateStore
from valetkey_broker.rpc.guard import Guard
from valetkey_broker.rpc.server import RpcServer
from valetkey_broker.state.background_sync import StateSync
from valetkey_broker.state.memory import Memory


class Parts(Protocol):
    """The parts of the broker's core that are told of; see app.Core."""

    @property
    def store(self) -> StateStore: ...

    @property
    def memory(self) -> Memory: ...

    @property
    def health(self) -> ConnectorHealth: ...

    @property
    def keys(self) -> SigningKeys: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def figures(self) -> Figures | None: ...


@dataclass(frozen=True, slots=True)
class Live:
    """What is told of that runs beside the core."""

    sync: StateSync
    server: RpcServer
    guard: Guard
    streams: Slots


async def tell_metrics(answerer: Answerer | None, core: Parts, endings: Endings, live: Live) -> None:
    """Answers whoever asks this process for its metrics, until cancelled; returns at once where nobody will."""
    if answerer is None or core.figures is None:
        return
    sources = Sources(
        figures=core.figures,
        methods=live.guard.methods,
        memory=core.memory,
        keys=core.keys,
        health=core.health,
        sync=live.sync,
        store=core.store,
        ledger=core.ledger,
        server=live.server,
        calls=live.guard.open_calls,
        streams=live.streams,
        endings=EndingFigures(endings, core.memory, core.clock),
        lag=Histogram(LAG_SECONDS),
        clock=core.clock,
    )
    await WorkerMetrics(answerer, sources).run()
