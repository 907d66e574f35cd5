"""Takes the readings of one process: quickly, in its event loop, which has all of it to itself."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Protocol, runtime_checkable

from valetkey_broker import __version__
from valetkey_broker.connectors.connector_health import ConnectorHealth
from valetkey_broker.issuing.signing_keys import SigningKeys, usable_until
from valetkey_broker.limits import Slots
from valetkey_broker.metrics import catalog as of
from valetkey_broker.metrics.catalog import Reading
from valetkey_broker.metrics.ending_figures import EndingFigures
from valetkey_broker.model import Connector, SigningKey
from valetkey_broker.observability.counters import Figures, Histogram
from valetkey_broker.ports import Clock, Ledger, StateStore
from valetkey_broker.rpc.open_calls import OpenCalls
from valetkey_broker.rpc.server import RpcServer
from valetkey_broker.state.background_sync import StateSync
from valetkey_broker.state.memory import Memory

_NO_LABELS: Sequence[str] = ()


@runtime_checkable
class KnowsItsQueue(Protocol):
    """A ledger that can tell how it keeps up."""

    @property
    def waiting(self) -> int:
        """How many records wait to be written."""
        ...

    @property
    def commit_seconds(self) -> Histogram:
        """How long its transactions took."""
        ...


@runtime_checkable
class KnowsItsToken(Protocol):
    """A state store that can tell how long its own token lives."""

    def token_seconds_left(self) -> float | None:
        """Returns the seconds, None without a token or where it never lapses."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Who knows what is told."""

    figures: Figures
    methods: Collection[str]
    memory: Memory
    keys: SigningKeys
    health: ConnectorHealth
    sync: StateSync
    store: StateStore
    ledger: Ledger
    server: RpcServer
    calls: OpenCalls
    streams: Slots
    endings: EndingFigures
    lag: Histogram
    clock: Clock


class Readings:
    """Reads all sources. Counts under names that are registered no more go on under `other`."""

    def __init__(self, sources: Sources) -> None:
        self._of = sources
        self._issued_by_others = 0
        self._refused_of_others: Counter[str] = Counter()

    def now(self) -> list[Reading]:
        """Returns what there is to tell now."""
        return [
            *self._calls(),
            *self._tokens(),
            *self._connectors(),
            *self._dependencies(),
            *self._of.endings.readings(),
            (of.BUILD, (__version__,), 1.0),
        ]

    def _calls(self) -> Iterator[Reading]:
        figures = self._of.figures
        yield from _added(of.REQUESTS, ((self._method(name), code, n) for (name, code), n in figures.requests.items()))
        yield from _added(of.REFUSALS, ((self._method(name), why, n) for (name, why), n in figures.refusals.items()))
        broken = sum(count for (_, code), count in figures.requests.items() if code == "INTERNAL")
        yield of.INTERNAL, _NO_LABELS, float(broken)
        for name, histogram in figures.seconds.items():
            if name in self._of.methods:
                yield of.SECONDS, (self._method(name),), histogram.copy()
        yield of.CALLS, _NO_LABELS, float(self._of.calls.total)
        yield of.STREAMS, _NO_LABELS, float(self._of.streams.total)
        yield of.SERVING, _NO_LABELS, float(self._of.server.serves)
        yield of.LAG, _NO_LABELS, self._of.lag.copy()

    def _method(self, name: str) -> str:
        return name.removeprefix("/") if name in self._of.methods else of.OTHER

    def _tokens(self) -> Iterator[Reading]:
        figures, registered = self._of.figures, self._of.memory.connectors
        for name in [each for each in figures.issued if each not in registered]:
            self._issued_by_others += figures.issued.pop(name)
        for name, reason in [each for each in figures.refused if each[0] not in registered]:
            self._refused_of_others[reason] += figures.refused.pop((name, reason))
        for name, count in figures.issued.items():
            yield of.ISSUED, (name,), float(count)
        if self._issued_by_others:
            yield of.ISSUED, (of.OTHER,), float(self._issued_by_others)
        for (name, reason), count in figures.refused.items():
            yield of.REFUSED, (name, reason), float(count)
        for reason, count in self._refused_of_others.items():
            yield of.REFUSED, (of.OTHER, reason), float(count)

    def _connectors(self) -> Iterator[Reading]:
        connectors, now = self._of.memory.connectors, self._of.clock()
        yield of.CONNECTORS, _NO_LABELS, float(len(connectors))
        for name, connector in connectors.items():
            health = self._of.health.of(connector)
            if health is not None:
                yield of.CREDENTIAL_OK, (name,), float(health.healthy)
        yield from self._keys(connectors.values(), now)
        running = sum(not each.state.ended for each in self._of.memory.rotations.values())
        yield of.ROTATIONS, _NO_LABELS, float(running)

    def _keys(self, connectors: Iterable[Connector], now: float) -> Iterator[Reading]:
        # A key that has ended was not asked for any more; keys of an account have no end.
        keys: dict[str, list[SigningKey]] = {}
        for each in self._of.keys.in_memory(connectors):
            if each.key is not None and isfinite(each.key.expires) and each.key.expires > now:
                keys.setdefault(each.connector.name, []).append(each.key)
        for name, found in keys.items():
            first = min(found, key=usable_until)
            yield of.KEY_AGE, (name,), max(0.0, now - min(key.starts for key in found))
            yield of.KEY_LEFT, (name,), first.expires - now
            yield of.LEFT_WITHOUT_ENTRA, (name,), max(0.0, usable_until(first) - now)

    def _dependencies(self) -> Iterator[Reading]:
        sync, ledger, store = self._of.sync, self._of.ledger, self._of.store
        yield of.LEFT_WITHOUT_VAULT, _NO_LABELS, sync.seconds_left()
        yield from _known(of.VAULT_AGE, sync.seconds_since_current())
        if isinstance(store, KnowsItsToken):
            yield from _known(of.VAULT_TOKEN, store.token_seconds_left())
        yield of.LEDGER_OK, _NO_LABELS, float(ledger.healthy())
        if isinstance(ledger, KnowsItsQueue):
            yield of.LEDGER_QUEUE, _NO_LABELS, float(ledger.waiting)
            yield of.COMMIT_SECONDS, _NO_LABELS, ledger.commit_seconds.copy()
        certificate = self._of.server.certificate
        if certificate is not None:
            yield of.CERTIFICATE_LEFT, _NO_LABELS, certificate.ends - self._of.clock()
            yield of.CERTIFICATE_BAD, _NO_LABELS, float(certificate.unusable)


def _known(metric: of.Metric, value: float | None) -> Iterator[Reading]:
    if value is not None and value != inf:
        yield metric, _NO_LABELS, value


def _added(metric: of.Metric, counts: Iterator[tuple[str, str, int]]) -> Iterator[Reading]:
    sums: Counter[tuple[str, str]] = Counter()
    for one, other, count in counts:
        sums[one, other] += count
    return ((metric, labels, float(count)) for labels, count in sums.items())
