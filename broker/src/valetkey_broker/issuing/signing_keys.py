"""Keeps signing keys: fetched once for hours, renewed in the background, never twice at a time."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from valetkey_broker.concurrency.single_flight import SingleFlight
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.recent_errors import RecentError, join
from valetkey_broker.errors import BrokerError
from valetkey_broker.issuing.signer_identity import signer_of
from valetkey_broker.model import Connector, SigningKey
from valetkey_broker.ports import AuthMethod, Clock

_AZURE_MAX_SECONDS = 7 * 24 * 3600  # https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key
_RENEW_AFTER_SHARE = 0.5
_BACKGROUND_RETRY_SECONDS = 30.0
# The key begins a little before the earliest token it signs.
_MARGIN_SECONDS = 60.0
# After a revocation the cloud's clock says from when keys count, which may be a moment from now: until then a token
# would be refused. Never longer than this, for a clock may also be wrong.
_MOST_WAIT_SECONDS = 3.0
# With the cloud away, a key that lives so much longer is better than none.
_LAST_SECONDS = 60.0

# Connector uid, its signer, account, since when keys count.
_Id = tuple[str, str, str, int]


@dataclass(slots=True)
class _Entry:
    key: SigningKey | None = None
    renew_at: float = 0.0
    failing_since: float | None = None
    refused_at: float = 0.0
    recent: RecentError = field(default_factory=RecentError)


@dataclass(frozen=True, slots=True)
class KeyInMemory:
    """What is in memory of the key that signs for an account by a connector; times are Unix seconds.

    `key` is None where none was given yet. `failing_since` is since when the cloud has given none, though asked;
    `refused_at` is when somebody was last told so, 0 where nobody was.
    """

    connector: Connector
    account: str
    key: SigningKey | None
    failing_since: float | None
    refused_at: float


def usable_until(key: SigningKey) -> float:
    """Returns until when (Unix seconds) a key can be issued from, with the cloud away."""
    return key.expires - _LAST_SECONDS


def _of_connector(connector: Connector, _account: str) -> int:
    return connector.keys_not_before


class SigningKeys:
    """One key per connector's signer and account, anew after keys were revoked, or an operator had them dropped.

    Errors are remembered for a moment only.
    """

    def __init__(
        self,
        *,
        questions: CloudClient,
        clock: Clock,
        key_seconds: int,
        skew_seconds: int,
        shortest_share: float = 1.0,
        auth_methods: Mapping[str, AuthMethod],
        not_before: Callable[[Connector, str], int] = _of_connector,
    ) -> None:
        """`shortest_share` is the part of its time that a token must at least get from a key that ends early.

        `not_before` tells, of a connector and an account, when keys have to begin at the earliest (Unix seconds).
        """
        self._auth_methods = auth_methods
        self._questions = questions
        self._clock = clock
        self._key_seconds = key_seconds
        self._skew = skew_seconds
        self._share = shortest_share
        self._not_before = not_before
        self._entries: dict[_Id, _Entry] = {}
        self._flights: SingleFlight[_Id, SigningKey] = SingleFlight("signing key")
        # The last one of each account that was revoked, by connector uid and account.
        self._revoked: dict[tuple[str, str], SigningKey] = {}
        self._log = structlog.get_logger()

    def held(self, connector: Connector, account: str, until: float) -> SigningKey | None:
        """Returns the key in memory if a token until `until` (Unix seconds) gets enough of its time from it.

        Starts the key's renewal when that is due. The hot path: no waiting, no I/O.
        """
        identity = self._id(connector, account)
        entry = self._entries.get(identity)
        if entry is None or entry.key is None:
            return None
        now = self._clock()
        key = entry.key
        # A key that begins later than now was fetched while the clock was ahead; or keys count from then on only, by
        # the cloud's clock, and another would begin no earlier.
        if key.starts > max(now, identity[3]) or key.expires < now + (until - now) * self._share:
            return None
        if now >= entry.renew_at and identity not in self._flights:
            task = self._flights.start(identity, partial(self._fetched, entry, connector, account))
            task.add_done_callback(partial(self._renewed, connector))
        return key

    async def get(self, connector: Connector, account: str, until: float) -> SigningKey:
        """Returns a key good until `until`, fetching one where needed: one fetch, however many wait for it.

        With Azure away, returns the key at hand as long as it is good for another minute, though it ends before
        `until`; the caller shortens the token. Raises BrokerError of ports.Cloud.
        """
        key = self.held(connector, account, until)
        if key is not None:
            return key
        identity = self._id(connector, account)
        entry = self._entries.get(identity)
        if entry is None:
            self._drop_others(identity)
            entry = self._entries[identity] = _Entry()
        try:
            entry.recent.check(self._clock())
            return await join(self._flights, identity, partial(self._fetched, entry, connector, account), connector)
        except BrokerError as error:
            entry.refused_at = self._clock()  # The cloud was not asked where an error is remembered.
            if entry.key is not None and self._usable(entry.key):
                self._log.warning(
                    "issuing from a signing key that ends early",
                    reason=error.reason.name,
                    connector=connector.name,
                    account=account,
                )
                return entry.key
            raise

    def revoked(self, connector: Connector, account: str, after: float, before: float) -> SigningKey | None:
        """Returns a key in memory that signed for a connector, and begins after one time and before another.

        Whoever wants to know whether storage still takes such keys can try nothing better. None where there is none.
        """
        place = (connector.uid, account)
        keys = [self._revoked.get(place)]
        keys += [entry.key for each, entry in self._entries.items() if (each[0], each[2]) == place]
        return next((key for key in keys if key is not None and after <= key.starts < before), None)

    def of(self, connector: Connector) -> Sequence[SigningKey]:
        """Returns the keys in memory that sign for a connector now."""
        return [each.key for each in self.in_memory((connector,)) if each.key is not None]

    def in_memory(self, connectors: Iterable[Connector]) -> Iterator[KeyInMemory]:
        """Tells of each key that signs for one of the connectors now, or that was asked for. One walk for them all.

        Who takes its time over it is told of the keys that there were when it began.
        """
        by_uid = {connector.uid: connector for connector in connectors}
        for identity, entry in tuple(self._entries.items()):
            connector = by_uid.get(identity[0])
            if connector is not None and identity == self._id(connector, identity[2]):
                yield KeyInMemory(connector, identity[2], entry.key, entry.failing_since, entry.refused_at)

    def forget(self, connector_uid: str) -> None:
        """Drops all that is known of a connector that went away."""
        for place in [each for each in self._revoked if each[0] == connector_uid]:
            del self._revoked[place]
        for identity in [each for each in self._entries if each[0] == connector_uid]:
            # Callers who wait right now must not fall back on it.
            self._entries.pop(identity).key = None
            self._flights.cancel(identity)

    def forget_earlier(self, connector: Connector) -> None:
        """Drops the keys of a connector that another signed with than does now.

        What is being fetched by it is left to those who wait, who decide anew; it is not kept.
        """
        signer = signer_of(connector, self._auth_methods)
        for identity in [each for each in self._entries if each[0] == connector.uid and each[1] != signer]:
            self._entries.pop(identity).key = None
        for identity, entry in self._entries.items():
            if identity[0] == connector.uid:
                entry.recent.forget()  # It went wrong with a credential that is replaced.

    async def close(self) -> None:
        """Ends what is under way."""
        await self._flights.close()
        self._entries.clear()

    async def _fetched(self, entry: _Entry, connector: Connector, account: str) -> SigningKey:
        now = self._clock()
        # Storage refuses keys that begin before a revocation.
        not_before = self._not_before(connector, account)
        if 0 < not_before - now <= _MOST_WAIT_SECONDS:
            await asyncio.sleep(not_before - now)
        starts = max(now - self._skew - _MARGIN_SECONDS, not_before)
        expires = min(now + self._key_seconds, starts + _AZURE_MAX_SECONDS)
        try:
            key = await self._questions.signing_key(connector, account, starts=starts, expires=expires)
        except BaseException as error:
            if isinstance(error, BrokerError):
                entry.refused_at = self._clock()
                if entry.failing_since is None:
                    entry.failing_since = entry.refused_at
            # With a key at hand that still signs, callers need not wait each time for a cloud that is away.
            usable = self._usable(entry.key)
            entry.recent.heard(error, self._clock(), passing_seconds=_BACKGROUND_RETRY_SECONDS if usable else 0.0)
            if entry.key is not None:
                entry.renew_at = max(self._clock() + _BACKGROUND_RETRY_SECONDS, entry.recent.until)
            raise
        entry.recent.forget()
        entry.failing_since = None
        entry.key = key
        entry.renew_at = now + (key.expires - now) * _RENEW_AFTER_SHARE
        return key

    def _usable(self, key: SigningKey | None) -> bool:
        return key is not None and key.starts <= self._clock() < usable_until(key)

    def _drop_others(self, identity: _Id) -> None:
        """Drops the keys of an account that an earlier signer had, or that were fetched before keys were dropped."""
        uid, _, account, _ = identity
        for other in [other for other in self._entries if (other[0], other[2]) == (uid, account)]:
            key = self._entries.pop(other).key
            if key is not None and other[3] != identity[3]:
                self._revoked[uid, account] = key
            self._flights.cancel(other)

    def _renewed(self, connector: Connector, task: asyncio.Task[SigningKey]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._log.warning(
                "a signing key was not renewed; will try again",
                connector=connector.name,
                reason=error.reason.name if isinstance(error, BrokerError) else type(error).__qualname__,
                seconds=_BACKGROUND_RETRY_SECONDS,
            )

    def _id(self, connector: Connector, account: str) -> _Id:
        return connector.uid, signer_of(connector, self._auth_methods), account, self._not_before(connector, account)
