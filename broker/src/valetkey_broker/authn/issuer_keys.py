"""The public keys of one issuer, kept fresh without ever hammering it."""

from collections.abc import Mapping, Sequence

import structlog

from valetkey_broker.authn.jwks import SigningKey, read_jwks
from valetkey_broker.concurrency.seconds_passed import seconds_passed
from valetkey_broker.concurrency.single_flight import FlightCancelledError, SingleFlight
from valetkey_broker.errors import credentials_invalid, issuer_unavailable
from valetkey_broker.model import Standing
from valetkey_broker.ports import Clock, KeySource, KeySourceError

_NEVER = float("-inf")
# The one key of the single flight: a ring fetches all keys of its issuer at once.
_KEYS = "keys"
# So long after somebody has last looked whether a key still counts, keys are looked after without being asked for.
_IN_USE_SECONDS = 60.0


class KeyRing:
    """Keys by `kid`. All who wait share one fetch, and fetches keep a least distance, whatever callers present.

    `refresh_seconds` is the age at which keys are asked for anew in the background, `min_refresh_seconds` the least
    time between two fetches, `max_stale_seconds` how long keys are believed while the issuer is away. After a quiet
    spell, when nobody has asked for keys for twice their age, callers wait for new ones: what was withdrawn meanwhile
    is not believed even once.
    """

    def __init__(
        self,
        issuer: str,
        source: KeySource,
        *,
        refresh_seconds: float = 300.0,
        min_refresh_seconds: float = 10.0,
        max_stale_seconds: float = 3600.0,
        passed: Clock = seconds_passed,
    ) -> None:
        self._issuer = issuer
        self._source = source
        self._refresh_seconds = refresh_seconds
        self._min_refresh_seconds = min_refresh_seconds
        self._max_stale_seconds = max_stale_seconds
        self._now = passed
        self._keys: Mapping[str, tuple[SigningKey, ...]] = {}
        self._fetched_at = _NEVER
        self._attempted_at = _NEVER
        self._failed = False
        self._in_use_at = _NEVER
        self._fetches = SingleFlight[str, None]("issuer-keys")
        self._awaited = False
        self._log = structlog.get_logger()

    async def find(self, kid: str, algorithm: str, *, anew: bool = False) -> Sequence[SigningKey]:
        """Returns the keys that may have signed a token. Raises CREDENTIALS_INVALID, or ISSUER_UNAVAILABLE where that
        cannot be told. `anew` asks the issuer first, unless it was asked a moment ago.
        """
        await self.catch_up()
        if anew or not (self._believed() and kid in self._keys):
            await self._refresh()
        if not self._believed() or (self._failed and kid not in self._keys):
            raise issuer_unavailable(self._until_next())
        self._refresh_if_old()
        if kid not in self._keys:
            raise credentials_invalid(
                "the token is signed with a key that its issuer does not show; get a new token",
                evidence="jwt",
                problem="key",
            )
        if fitting := [key for key in self._keys[kid] if algorithm in key.algorithms]:
            return fitting
        raise credentials_invalid(
            "the token's algorithm does not fit the key it names; get a new token", evidence="jwt", problem="algorithm"
        )

    async def catch_up(self) -> None:
        """Waits for new keys after a quiet spell; old ones stay where they cannot be had. Otherwise returns at once."""
        if self._awaited if _KEYS in self._fetches else self._overdue():
            await self._refresh()

    def standing(self, key: SigningKey) -> Standing:
        """Tells whether the issuer still shows `key`; UNKNOWN where what is known of its keys is too old."""
        self._in_use_at = self._now()
        self._refresh_if_old()
        if not self._believed():
            return Standing.UNKNOWN
        return Standing.GOOD if key in self._keys.get(key.id, ()) else Standing.ENDED

    def shown(self) -> object:
        """Returns something else than before where the standing of a key may have changed."""
        if self._now() - self._in_use_at < _IN_USE_SECONDS:
            self._refresh_if_old()
        return self._believed(), self._keys

    async def close(self) -> None:
        """Ends what is under way."""
        await self._fetches.close()
        await self._source.close()

    def _believed(self) -> bool:
        return self._now() - self._fetched_at < self._max_stale_seconds

    def _overdue(self) -> bool:
        # The last attempt counts, not the last success: with the issuer away, callers do not wait each time.
        return self._now() - self._attempted_at >= 2 * self._refresh_seconds

    def _until_next(self) -> float:
        return max(0.1, self._attempted_at + self._min_refresh_seconds - self._now())

    def _refresh_if_old(self) -> None:
        if self._now() - self._fetched_at >= self._refresh_seconds:
            self._start()

    async def _refresh(self) -> None:
        if self._start():
            try:
                await self._fetches.run(_KEYS, self._fetch)
            except FlightCancelledError:
                raise issuer_unavailable() from None  # The broker is stopping; another one may answer.

    def _start(self) -> bool:
        """Starts a fetch, unless the last one is too recent. Tells whether one is under way."""
        now = self._now()
        if _KEYS not in self._fetches and now - self._attempted_at >= self._min_refresh_seconds:
            self._awaited = self._overdue()
            self._attempted_at = now
            self._fetches.start(_KEYS, self._fetch)
        return _KEYS in self._fetches

    async def _fetch(self) -> None:
        try:
            keys = read_jwks(await self._source.fetch())
        except KeySourceError as error:
            self._failed = True
            self._log.warning("cannot get the keys of an issuer", issuer=self._issuer, error=str(error))
        except Exception as error:  # noqa: BLE001 (whatever it was, callers are told that the keys are not there)
            self._failed = True
            self._log.error("cannot get the keys of an issuer", issuer=self._issuer, error=type(error).__name__)
        else:
            self._failed = False
            self._keys = self._kept(keys)
            self._fetched_at = self._now()

    def _kept(self, keys: Mapping[str, tuple[SigningKey, ...]]) -> Mapping[str, tuple[SigningKey, ...]]:
        # A key that is still there stays the same object: tokens verified with it need no second look.
        known = {key.jwk: key for each in self._keys.values() for key in each}
        return {kid: tuple(known.get(key.jwk, key) for key in each) for kid, each in keys.items()}
