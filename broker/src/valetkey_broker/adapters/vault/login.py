"""The broker's login to Vault: one at a time, kept alive in the background, made anew when it lapses."""

import asyncio
from collections.abc import Collection

import structlog

from valetkey_broker.adapters.vault.blocking_calls import Calls
from valetkey_broker.adapters.vault.client import Token, VaultClient
from valetkey_broker.adapters.vault.errors import DENIED, login_refused, unavailable
from valetkey_broker.concurrency.backoff import Backoff, spread
from valetkey_broker.concurrency.seconds_passed import seconds_passed
from valetkey_broker.concurrency.single_flight import SingleFlight
from valetkey_broker.errors import BrokerError
from valetkey_broker.observability.redaction import frames

# Seconds between attempts to renew while Vault is away: the first, and the most.
_RETRY_FIRST = 0.5
_RETRY_MOST = 15.0
# What Vault itself says about a token that it will not renew; anything else is tried again later. At the end of
# its maximal life OpenBao 2.7 answers 500, "past the max TTL, cannot renew".
_NOT_RENEWABLE = (DENIED, "refused", "failing")
# What Vault says where there is nothing to give back: the token has lapsed or was revoked, or is a batch token.
_NOT_TO_BE_REVOKED = (DENIED, "refused")
# A token that never lapses is looked at again after this many seconds.
_IDLE = 3600.0
# The one key of the single flight: there is one login.
_LOGIN = "login"


class Login:
    """Holds the token. `generation` counts the logins from 1 on; 0 is "not yet"."""

    def __init__(self, client: VaultClient, calls: Calls, auth: str = "approle") -> None:
        self.generation = 0
        self._auth = auth
        self._client = client
        self._calls = calls
        self._token: Token | None = None
        self._token_since = 0.0
        self._full_lease = 0.0
        self._failures = 0
        self._backoff = Backoff(_RETRY_FIRST, _RETRY_MOST)
        self._closed = False
        self._logins = SingleFlight[str, None]("vault-login")
        self._keeper: asyncio.Task[None] | None = None
        self._returning: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger()

    async def ensure(self) -> int:
        """Logs in if that has not happened yet. Returns the generation. Raises BrokerError."""
        if self._token is None:
            await self.anew(self.generation)
        return self.generation

    async def anew(self, seen: int) -> None:
        """Logs in, unless someone has since generation `seen`. Raises BrokerError.

        All who ask while a login is under way share it, and its failure.
        """
        if self._closed:
            raise unavailable("closed", "logging in", "the broker is stopping")
        if self.generation != seen:
            return
        await self._logins.run(_LOGIN, self._log_in)

    def seconds_left(self) -> float | None:
        """Returns how long the token still lives unless it is renewed; None without one, or where it never lapses."""
        if self._token is None or not self._token.lease_seconds:
            return None
        return max(0.0, self._token_since + self._token.lease_seconds - seconds_passed())

    async def close(self) -> None:
        """Stops renewing and gives the token back, if Vault can be reached in the time of one call. Never raises."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        try:
            # For the login under way, for a thread, and for the answer: each may take that long where Vault hangs.
            async with asyncio.timeout(self._calls.timeout):
                await self._return_all()
        except TimeoutError:
            self._log.warning(
                "the Vault token was not revoked",
                cause="timeout",
                lapses_within=self._token.lease_seconds if self._token is not None else None,
            )
        self._token = None

    async def _return_all(self) -> None:
        # A login under way is let end: cut off, it would leave a token in Vault.
        await self._logins.settle()
        if self._token is not None:
            self._begin_to_give_back(self._token)
        await asyncio.gather(*self._returning)

    def _begin_to_give_back(self, token: Token, expected: Collection[str] = ()) -> None:
        returning = asyncio.create_task(self._give_back(token, expected), name="vault-token-return")
        self._returning.add(returning)
        returning.add_done_callback(self._returning.discard)

    async def _give_back(self, token: Token, expected: Collection[str]) -> None:
        try:
            await self._calls.run("giving the login back", self._client.revoke, token)
        except BrokerError as error:
            if error.metadata["cause"] in expected:
                return
            # It lapses by itself; the operator may want to know until when it lives.
            self._log.warning(
                "the Vault token was not revoked",
                cause=error.metadata["cause"],
                lapses_within=token.lease_seconds,
            )

    async def _log_in(self) -> None:
        failure: BrokerError
        try:
            token = await self._calls.run("logging in", self._client.log_in)
        except BrokerError as error:
            # Vault answers 400 to a wrong secret id, or an unknown role, and 403 to a mount without that method, or to
            # a token that Kubernetes does not know.
            refused = error.metadata["cause"] in (DENIED, "refused", "not found")
            failure = login_refused(self._auth) if refused else error
        else:
            before = self._token
            self._client.use(token)
            self._token, self._full_lease = token, token.lease_seconds
            self._token_since = seconds_passed()
            self.generation += 1
            self._failures = 0
            self._backoff.reset()
            self._log.info("logged in to Vault", lease_seconds=token.lease_seconds, login=self.generation)
            if before is not None and before.value != token.value:
                # It may live on for weeks, as where the policy and not the token was why Vault refused something.
                self._begin_to_give_back(before, _NOT_TO_BE_REVOKED)
            if self._keeper is None and not self._closed:
                self._keeper = asyncio.create_task(self._keep(), name="vault-renewal")
            return
        raise failure

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._pause())
            try:
                await self._renew()
            except BrokerError as error:
                self._failures += 1
                self._log.warning(
                    "the Vault token was not renewed",
                    cause=error.metadata["cause"],
                    failures=self._failures,
                    why=error.message,
                )
            except Exception as error:  # noqa: BLE001 (a keeper that ends would let the token lapse)
                self._failures += 1
                self._log.error("renewing the Vault token failed; it is tried again", frames=frames(error))
            else:
                self._failures = 0
                self._backoff.reset()

    def _pause(self) -> float:
        """Returns seconds until the next renewal: about half of the lease, spread over replicas."""
        if self._failures:
            return self._backoff.next()
        lease = self._token.lease_seconds if self._token else 0.0
        return spread(lease / 2 if lease > 0 else _IDLE)

    async def _renew(self) -> None:
        generation, token = self.generation, self._token
        if token is None or not token.renewable:
            await self.anew(generation)
            return
        try:
            renewed = await self._calls.run("renewing the login", self._client.renew)
        except BrokerError as error:
            if error.metadata["cause"] not in _NOT_RENEWABLE:
                raise
            renewed = None
        if self.generation != generation:
            return
        # Vault cuts a renewal at the token's maximal life: what comes back gets shorter and shorter.
        if renewed is None or renewed.lease_seconds <= self._full_lease / 2:
            await self.anew(generation)
        else:
            self._token, self._token_since = renewed, seconds_passed()
