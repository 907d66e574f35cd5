"""Streams of tokens: a fresh one ahead of each expiry, and an end with a reason as soon as there is one."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

import structlog

from valetkey_broker.authz.policy import Policy
from valetkey_broker.authz.revoked import covering, refused
from valetkey_broker.concurrency.backoff import Backoff
from valetkey_broker.errors import BrokerError, Reason, issuer_unavailable
from valetkey_broker.issuing.issuer import Issuer
from valetkey_broker.issuing.signers import signer_of
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import CallInfo, Connector, Lease, Principal, ResourceId, Standing
from valetkey_broker.model.revocation import TokenUseFacts
from valetkey_broker.ports import AuthMethod, Clock
from valetkey_broker.state.memory import Memory

# A stream looks this often whether it may go on; replicas hear of changes about as often.
_CHECK_SECONDS = 1.0
# At which point of a token's life the next one comes: jittered, so that a thousand streams that began together do not
# stay together.
_EARLIEST, _LATEST = 0.6, 0.75
# However little is left of a token's life, the next one comes no sooner, unless the caller asked for shorter ones; and
# one that ends hardly later, times being whole seconds, is not worth having.
_LEAST_SECONDS = 5.0
_WORTH_SECONDS = 2.0
# Between two tries for a fresh token, and towards the last one's end.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 2.0, 30.0
_SHORTEST_PAUSE_SECONDS = 1.0
# Azure's own limit: asked with it, the grant that reaches furthest is found.
_LONGEST_SECONDS = 7 * 24 * 3600


class EndReason(Enum):
    """Why a stream ends; the names are those of `valetkey.v1.WatchEndReason` without its prefix."""

    GRANT_GONE = "no grant allows it any more"
    CONNECTOR_GONE = "the connector was deleted"
    IDENTITY_REVOKED = "the caller's key was revoked, or who vouched for the caller is no longer believed"
    IDENTITY_EXPIRED = "the caller's identity expired; call again with a new one"
    SHUTDOWN = "the broker stops; call again"
    ISSUER_UNAVAILABLE = (
        "the keys of the caller's issuer could not be had before the last token ended; call again later"
    )
    UNAVAILABLE = "no fresh token could be had before the last one ended; call again later"
    ACCESS_REVOKED = "access was revoked"


@dataclass(frozen=True, slots=True)
class AccessRevoked:
    """The end of a stream that an operator revoked; `value` says whom to ask. Reads like an EndReason."""

    value: str
    name: str = EndReason.ACCESS_REVOKED.name


End = EndReason | AccessRevoked


class TokenWatcher:
    """The use case of WatchToken."""

    def __init__(
        self,
        *,
        issuer: Issuer,
        policy: Policy,
        memory: Memory,
        standing: Callable[[Principal], Standing],
        admit: Callable[[Principal], None],
        clock: Clock,
        auth_methods: Mapping[str, AuthMethod],
        check_seconds: float = _CHECK_SECONDS,
        refreshed: Callable[[Principal], Principal] = lambda principal: principal,
        keys_not_before: Callable[[Connector, str], int] = lambda _connector, _account: 0,
    ) -> None:
        """`standing` tells whether a caller could authenticate again now; `refreshed` gives it the end it has by now.

        `admit` raises BrokerError where a call of the principal would not be let in now; first tokens are calls.
        `keys_not_before` tells, of a connector and an account, when keys have to begin at the earliest (Unix seconds).
        """
        self._keys_not_before = keys_not_before
        self._issuer = issuer
        self._policy = policy
        self._memory = memory
        self._standing = standing
        self._admit = admit
        self._clock = clock
        self._auth_methods = auth_methods
        self._check_seconds = check_seconds
        self._refreshed = refreshed
        self._stopping = asyncio.Event()
        self._log = structlog.get_logger()

    def stop(self) -> None:
        """Ends every stream with SHUTDOWN."""
        self._stopping.set()

    async def watch(self, call: CallInfo, request: TokenRequest) -> AsyncGenerator[Lease | End, None]:
        """Yields a lease at once and fresh ones in time, each authorised and recorded anew; an End comes last.

        Raises what `Issuer.issue` raises where there is no first token.
        """
        outcome: Lease | End = await self._issuer.issue(call, request)
        while isinstance(outcome, Lease):
            lease = outcome
            # Reckoned before it is handed over: a caller that reads slowly does not put off its next token.
            due, signer = self._due(lease, request), self._signer(lease)
            yield lease
            end = await self._wait(call.principal, request, lease, due, while_signed_by=signer)
            call = replace(call, principal=self._refreshed(call.principal))
            outcome = end if end is not None else await self._renewed(call, request, lease)
        self._log.info("stream ended", principal=call.principal.name, connector=lease.connector, why=outcome.name)
        yield outcome

    def _due(self, lease: Lease, request: TokenRequest) -> float:
        """Returns when the next token should come, in Unix seconds: in time, and never as fast as lives shrink."""
        now = self._clock()
        share = random.uniform(_EARLIEST, _LATEST)  # noqa: S311 (jitter, no secret)
        least = _LEAST_SECONDS if request.ttl is None else min(_LEAST_SECONDS, request.ttl * _EARLIEST)
        return min(now + max((lease.expires - now) * share, least), lease.expires)

    async def _wait(
        self,
        principal: Principal,
        request: TokenRequest,
        lease: Lease,
        due: float,
        *,
        while_signed_by: str | None = None,
    ) -> End | None:
        """Waits until `due` (Unix seconds). Returns a reason to end, or None when it is time for the next token.

        With `while_signed_by` it is time, too, once another signs for the connector than signed the last token, which
        may be withdrawn in the cloud at any moment.

        Where the token ends with what allows it, a fresh one would end no later: it is the last one, unless
        something comes to allow more, and the stream ends with what allowed it.
        """
        decided, ends = -1, 0.0
        while True:
            if (end := self._gone(principal)) is not None:
                return end
            now = self._clock()
            # What may be had changes with documents, and with the time at which a grant ends.
            if decided != self._memory.changes or now >= ends:
                decided = self._memory.changes
                if (revoked := self._revoked(lease)) is not None:
                    return revoked
                until = self._allowed_until(principal, request, lease)
                if until is None:
                    return self._why_not(lease)
                ends = until
                if while_signed_by is not None and self._has_new_signer(lease, while_signed_by):
                    return None
            if now >= due and ends >= lease.expires + _WORTH_SECONDS:
                return None
            await self._sleep(min((due if now < due else ends) - now, self._check_seconds))

    async def _renewed(self, call: CallInfo, request: TokenRequest, lease: Lease) -> Lease | End:
        """Returns the next lease, trying again while the last one lives whatever the error, or why there is none."""
        pauses = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        told: Reason | None = None
        while True:
            try:
                if self._standing(call.principal) is Standing.UNKNOWN:
                    raise issuer_unavailable()
                self._admit(call.principal)
                return await self._attempt(call, request, lease)
            except BrokerError as error:
                if (gone := self._gone(call.principal)) is not None:
                    return gone
                if error.reason is Reason.ACCESS_REVOKED:
                    return AccessRevoked(error.message)
                if error.reason is Reason.RESOURCE_DENIED:
                    return self._why_not(lease)
                if error.reason is not told:
                    told = error.reason
                    self._log.warning(
                        "a stream's token cannot be renewed for now",
                        reason=told.name,
                        principal=call.principal.name,
                        connector=lease.connector,
                    )
                now = self._clock()
                # The nearer the last token's end, the more often; but never before somebody who asks to wait says so.
                pause = min(pauses.next(), max((lease.expires - now) / 4, _SHORTEST_PAUSE_SECONDS))
                again = now + max(error.retry_after or 0.0, pause)
            end = await self._wait(call.principal, request, lease, min(again, lease.expires))
            if end is not None:
                return end
            if again >= lease.expires:
                away = told is Reason.ISSUER_UNAVAILABLE
                return EndReason.ISSUER_UNAVAILABLE if away else EndReason.UNAVAILABLE

    async def _attempt(self, call: CallInfo, request: TokenRequest, lease: Lease) -> Lease | End:
        """Asks for the next lease. Azure may take its time: a reason to end is not kept waiting by it."""
        issuing = asyncio.get_running_loop().create_task(self._issuer.issue(call, request))
        try:
            while True:
                await asyncio.wait({issuing}, timeout=self._check_seconds)
                if issuing.done():
                    return issuing.result()
                if (end := self._gone(call.principal)) is not None:
                    return end
                if self._revoked(lease) or self._allowed_until(call.principal, request, lease) is None:
                    return self._why_not(lease)
        finally:
            if not issuing.done():
                issuing.cancel()
                await asyncio.wait({issuing})

    def _gone(self, principal: Principal) -> EndReason | None:
        if self._stopping.is_set():
            return EndReason.SHUTDOWN
        if self._refreshed(principal).expires <= self._clock():
            return EndReason.IDENTITY_EXPIRED
        # UNKNOWN is not ENDED: while the issuer cannot be reached the stream stays open, and gets no new token.
        return EndReason.IDENTITY_REVOKED if self._standing(principal) is Standing.ENDED else None

    def _allowed_until(self, principal: Principal, request: TokenRequest, lease: Lease) -> float | None:
        """Returns when what allows the request ends, in Unix seconds; None where nothing does.

        Where the last token's connector is still allowed, only that counts: the next token will be of it, too.
        """
        try:
            allowed = self._policy.decide(
                principal,
                request.resource,
                request.permissions,
                ttl=_LONGEST_SECONDS,
                connector=request.connector,
                source_ip=request.source_ip,
            )
        except BrokerError as error:
            # Less than a second is left of an identity that no token outlives: the stream ends with that, not now.
            return principal.expires if error.reason is Reason.CREDENTIALS_EXPIRED else None
        of_the_same = [each.ends for each in allowed if each.connector.uid == lease.connector_uid]
        return max(of_the_same or [each.ends for each in allowed])

    def _signer(self, lease: Lease) -> str:
        """Returns who signed a token; empty where nobody can tell: the connector has another credential by now."""
        connector = self._connector(lease)
        same = connector is not None and connector.credential_version == lease.credential_version
        return signer_of(connector, self._auth_methods) if connector is not None and same else ""

    def _has_new_signer(self, lease: Lease, signer: str) -> bool:
        connector = self._connector(lease)
        if connector is None:
            return False
        # No token begins before its key: one that begins before the revocation of keys is of a dead one.
        if lease.starts < self._keys_not_before(connector, lease.scope.account):
            return True
        another = connector.credential_version != lease.credential_version
        return another and signer_of(connector, self._auth_methods) != signer

    def _revoked(self, lease: Lease) -> AccessRevoked | None:
        in_force = self._memory.in_force
        if not in_force:
            return None
        scope = lease.scope
        token = TokenUseFacts(lease.principal, lease.grant, lease.connector, scope.account, scope.container, scope.path)
        revocation = covering(in_force, token)
        if revocation is None:
            return None
        return AccessRevoked(refused(ResourceId.parse(scope.resource_id), revocation).message)

    def _connector(self, lease: Lease) -> Connector | None:
        connector = self._memory.connectors.get(lease.connector)
        return connector if connector is not None and connector.uid == lease.connector_uid else None

    def _why_not(self, lease: Lease) -> End:
        if (revoked := self._revoked(lease)) is not None:
            return revoked
        return EndReason.CONNECTOR_GONE if self._connector(lease) is None else EndReason.GRANT_GONE

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
