"""Streams of tokens: a fresh one ahead of each expiry, and an end with a reason as soon as there is one."""

import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

import structlog

from valetkey_broker.authz.policy import Policy
from valetkey_broker.concurrency.backoff import Backoff
from valetkey_broker.concurrency.scoped_task import ScopedTask
from valetkey_broker.concurrency.shared_poller import SharedPoller
from valetkey_broker.errors import BrokerError, Reason, issuer_unavailable
from valetkey_broker.issuing.issuer import Issuer
from valetkey_broker.issuing.stream_checks import StreamChecks
from valetkey_broker.issuing.stream_end_reasons import AccessRevoked, End, EndReason
from valetkey_broker.issuing.stream_wait import TokenWait, Waited
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import CallInfo, Connector, Lease, Principal, Standing
from valetkey_broker.ports import AuthMethod, Clock
from valetkey_broker.state.memory import Memory

# So often streams hear of changes; replicas do about as often.
_CHECK_SECONDS = 1.0
# At which point of a token's life the next one comes: jittered, so that a thousand streams that began together do not
# stay together.
_EARLIEST, _LATEST = 0.6, 0.75
# However little is left of a token's life, the next one comes no sooner, unless the caller asked for shorter ones.
_LEAST_SECONDS = 5.0
# Between two tries for a fresh token, and towards the last one's end.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 2.0, 30.0
_SHORTEST_PAUSE_SECONDS = 1.0


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
        vouchers: Callable[[], object] = object,
    ) -> None:
        """`standing` tells whether a caller could authenticate again now; `refreshed` gives it the end it has by now.

        `admit` raises BrokerError where a call of the principal would not be let in now; first tokens are calls.
        `keys_not_before` tells, of a connector and an account, when keys have to begin at the earliest (Unix seconds).
        `vouchers` returns something else than before whenever `standing` may: by what no document and no time says.
        """
        self._checks = StreamChecks(
            policy=policy,
            memory=memory,
            standing=standing,
            clock=clock,
            auth_methods=auth_methods,
            refreshed=refreshed,
            keys_not_before=keys_not_before,
            vouchers=vouchers,
        )
        self._issuer = issuer
        self._admit = admit
        self._clock = clock
        self._check_seconds = check_seconds
        self._rounds = SharedPoller(check_seconds, self._checks.news)
        self._log = structlog.get_logger()

    def stop(self) -> None:
        """Ends every stream with SHUTDOWN."""
        self._checks.stopping = True
        self._rounds.at_once()

    async def watch(
        self, call: CallInfo, request: TokenRequest, heartbeat: float | None = None
    ) -> AsyncGenerator[Lease | End | None, None]:
        """Yields a lease at once and fresh ones in time, each authorised and recorded anew; an End comes last.

        None comes after each `heartbeat` seconds of silence, a sign of life. Raises what `Issuer.issue` raises where
        there is no first token.
        """
        work: Coroutine[Any, Any, Lease | End] = self._issuer.issue(call, request)
        while True:
            async with ScopedTask(work) as coming:
                while not await coming.ends_within(heartbeat):
                    yield None
                outcome = coming.result()
            if not isinstance(outcome, Lease):
                break
            # Reckoned before it is handed over: a caller that reads slowly does not put off its next token.
            lease, due, signer = outcome, self._due(outcome, request), self._checks.signer(outcome)
            yield lease
            wait = TokenWait(
                self._checks,
                self._clock,
                call.principal,
                request,
                lease,
                due,
                while_signed_by=signer,
                heartbeat=heartbeat,
            )
            await self._rounds.until(wait.look)
            while wait.outcome is Waited.SILENCE:
                yield None
                wait.said_something()
                await self._rounds.until(wait.look)
            call = replace(call, principal=self._checks.refreshed(call.principal))
            if not isinstance(wait.outcome, Waited):
                outcome = wait.outcome
                break
            work = self._renewed(call, request, lease)
        self._log.info("stream ended", principal=call.principal.name, connector=lease.connector, why=outcome.name)
        yield outcome

    def _due(self, lease: Lease, request: TokenRequest) -> float:
        """Returns when the next token should come, in Unix seconds: in time, and never as fast as lives shrink."""
        now = self._clock()
        share = random.uniform(_EARLIEST, _LATEST)  # noqa: S311 (jitter, no secret)
        least = _LEAST_SECONDS if request.ttl is None else min(_LEAST_SECONDS, request.ttl * _EARLIEST)
        return min(now + max((lease.expires - now) * share, least), lease.expires)

    async def _renewed(self, call: CallInfo, request: TokenRequest, lease: Lease) -> Lease | End:
        """Returns the next lease, trying again while the last one lives whatever the error, or why there is none."""
        pauses = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        told: Reason | None = None
        while True:
            try:
                if self._checks.standing(call.principal) is Standing.UNKNOWN:
                    raise issuer_unavailable()
                self._admit(call.principal)
                return await self._attempt(call, request, lease)
            except BrokerError as error:
                if (gone := self._checks.gone(call.principal)) is not None:
                    return gone
                if error.reason is Reason.ACCESS_REVOKED:
                    return AccessRevoked(error.message)
                if error.reason is Reason.RESOURCE_DENIED:
                    return self._checks.why_not(lease)
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
            wait = TokenWait(self._checks, self._clock, call.principal, request, lease, min(again, lease.expires))
            await self._rounds.until(wait.look)
            if not isinstance(wait.outcome, Waited):
                return wait.outcome
            if again >= lease.expires:
                away = told is Reason.ISSUER_UNAVAILABLE
                return EndReason.ISSUER_UNAVAILABLE if away else EndReason.UNAVAILABLE

    async def _attempt(self, call: CallInfo, request: TokenRequest, lease: Lease) -> Lease | End:
        """Asks for the next lease. Azure may take its time: a reason to end is not kept waiting by it."""
        checks = self._checks
        async with ScopedTask(self._issuer.issue(call, request)) as issuing:
            while not await issuing.ends_within(self._check_seconds):
                if (end := checks.gone(call.principal)) is not None:
                    return end
                if checks.revoked(lease) or checks.allowed_until(call.principal, request, lease) is None:
                    return checks.why_not(lease)
            return issuing.result()
