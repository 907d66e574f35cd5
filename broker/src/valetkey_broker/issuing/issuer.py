"""Issues tokens.

The order of the steps is the security property: nothing is asked of Azure for a caller who may not, and no token
leaves that is not recorded.
"""

import math
from collections.abc import Iterable, Sequence
from functools import partial

from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.concurrency.gather_outcomes import work_off
from valetkey_broker.errors import BrokerError
from valetkey_broker.issuing.batch_progress import Batch, Issued
from valetkey_broker.issuing.decider import Decider, Decision
from valetkey_broker.issuing.lease_ids import LeaseIds
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import CallInfo, Event, EventKind, Lease, Principal, SasRequest, TtlLimit
from valetkey_broker.observability.redaction import scrub
from valetkey_broker.ports import Clock, Cloud, Ledger

# So many tokens are signed before others get their turn, which takes a millisecond or two.
_SIGNED_AT_ONCE = 64
_DECIDED_AT_ONCE = 64
# So often a batch is decided as a whole. The first time may wait for Azure and signs, the next mostly does neither.
_ROUNDS = 4


class Issuer:
    """The use case of TokenService."""

    def __init__(
        self,
        *,
        decider: Decider,
        cloud: Cloud,
        ledger: Ledger,
        clock: Clock,
        skew_seconds: int,
    ) -> None:
        """Tokens count from `skew_seconds` before they are made, for clocks that are behind."""
        self._decider = decider
        self._cloud = cloud
        self._ledger = ledger
        self._clock = clock
        self._skew = skew_seconds
        self._lease_ids = LeaseIds()

    async def issue(self, call: CallInfo, wanted: TokenRequest) -> Lease:
        """Issues one token to the caller of `call`.

        The token may end earlier than asked, with what its grant allows or with its key. Waits for nobody but the
        ledger, unless Azure has to be asked. Raises InvalidFieldError for a ttl over the limit, BrokerError:
        RESOURCE_DENIED, ACCESS_REVOKED, RESOURCE_NOT_FOUND, RESOURCE_AMBIGUOUS, SCOPE_UNSUPPORTED, CREDENTIALS_INVALID
        or CREDENTIALS_EXPIRED where the caller's identity ended meanwhile, ISSUER_UNAVAILABLE where that cannot be told
        any more, LEDGER_UNAVAILABLE, or one of ports.Cloud.
        """
        decision = await self._decider.decide(call.principal, wanted)
        now = self._clock()
        ((lease, event),) = self._signed(call, wanted, decision, now, 1)
        # Nothing leaves that is not on record.
        await self._ledger.record(event)
        return lease

    async def issue_many(self, call: CallInfo, wanted: Sequence[TokenRequest]) -> Sequence[Lease | Exception]:
        """Issues a token for each of `wanted`, in its place, or tells there what `issue` would have raised.

        Requests that are one and the same object are decided once for all of them; every token is signed and recorded
        by itself, and all of them become durable together, unless memory changes faster than they can be decided:
        then they do so in slices. Raises BrokerError where the caller's identity has ended.
        """
        batch = Batch(wanted, self._decider.holds)
        for _ in range(_ROUNDS):
            began = self._decider.moment()
            stale = batch.stale(batch.places)
            for request, decision in zip(stale, await self._decided(call.principal, stale), strict=True):
                batch.decide(request, decision)
            async for some in slices(batch.unsigned(batch.places), _SIGNED_AT_ONCE):
                self._sign(call, batch, some)
            # That took a while. What was decided before a change is decided again, as for a single token.
            self._decider.check_caller(call.principal, began)
            if not batch.stale(batch.places):
                return await self._recorded([batch.outcome(place) for place in batch.places])
        return await self._issued_in_slices(call, batch)

    async def _issued_in_slices(self, call: CallInfo, batch: Batch) -> Sequence[Lease | Exception]:
        """Goes on with what cannot be had all at one moment: what holds is recorded before others get their turn."""
        told: dict[int, Lease | Exception] = {}
        began = self._decider.moment()
        async for some in slices(batch.places, _SIGNED_AT_ONCE):
            left = some
            while left:
                # One after the other, as that lets nobody in between where memory has it all. Whatever happens, the
                # last one holds: each time some are done.
                for request in batch.stale(left):
                    batch.decide(request, await self._outcome(call.principal, request))
                standing = batch.standing(left)
                self._sign(call, batch, batch.unsigned(standing))
                self._decider.check_caller(call.principal, began)
                outcomes = await self._recorded([batch.outcome(place) for place in standing])
                told |= zip(standing, outcomes, strict=True)
                left = [place for place in left if place not in told]
        return [told[place] for place in batch.places]

    async def _decided(self, principal: Principal, wanted: Sequence[TokenRequest]) -> Sequence[Decision | Exception]:
        return await work_off(wanted, partial(self._outcome, principal), at_once=_DECIDED_AT_ONCE)

    async def _outcome(self, principal: Principal, wanted: TokenRequest) -> Decision | Exception:
        try:
            return await self._decider.decide(principal, wanted)
        except Exception as error:  # noqa: BLE001 (it goes to who asked; what one raises must not hide the others)
            return error

    def _sign(self, call: CallInfo, batch: Batch, places: Iterable[int]) -> None:
        now = self._clock()
        batch.sign(places, lambda request, decision, count: self._signed(call, request, decision, now, count))

    async def _recorded(self, issued: Sequence[Issued | Exception]) -> Sequence[Lease | Exception]:
        try:
            if events := [each[1] for each in issued if isinstance(each, tuple)]:
                await self._ledger.record(*events)
        except BrokerError as error:
            return [error if isinstance(each, tuple) else each for each in issued]
        return [each[0] if isinstance(each, tuple) else each for each in issued]

    def _signed(
        self, call: CallInfo, wanted: TokenRequest, decision: Decision, now: float, count: int
    ) -> Sequence[Issued]:
        """Returns `count` tokens for one request, and the event of each."""
        connector, scope, allowance, key = decision.connector, decision.scope, decision.allowance, decision.key
        starts = max(int(now) - self._skew, math.ceil(key.starts))
        until = min(int(now) + allowance.ttl, allowance.ends)
        expires = int(min(until, key.expires))
        limit = TtlLimit.KEY_END if key.expires < until else allowance.limited_by
        lease_ids = self._lease_ids.new(now, count)
        request = SasRequest(
            profile=decision.profile,
            scope=scope,
            permissions=wanted.permissions,
            starts=starts,
            expires=expires,
            source_ip=allowance.source_ip,
            key=key,
        )
        purpose = scrub(wanted.purpose) if wanted.purpose else ""  # People paste the wrong thing.
        principal, grant = call.principal.name, allowance.grant.name
        # Python's own way to an enum's value costs half a microsecond.
        authentication, permissions = call.principal.evidence._value_, wanted.permissions.sp
        issued = []
        for lease_id, signed in zip(lease_ids, self._cloud.sign(request, lease_ids), strict=True):
            lease = Lease(
                id=lease_id,
                principal=principal,
                grant=grant,
                connector=connector.name,
                connector_uid=connector.uid,
                credential_version=connector.credential_version,
                scope=scope,
                permissions=wanted.permissions,
                starts=starts,
                expires=expires,
                sas_token=signed.sas_token,
                ttl_limited_by=limit,
            )
            event = Event(
                kind=EventKind.TOKEN_ISSUED,
                time=now,
                request_id=call.request_id,
                method=call.method,
                principal=principal,
                authentication=authentication,
                peer=call.peer,
                connector=connector.name,
                connector_uid=connector.uid,
                credential_version=connector.credential_version,
                resource=scope.url,
                permissions=permissions,
                ttl=expires - int(now),
                expires=expires,
                lease_id=lease_id,
                signature_sha256=signed.signature_sha256,
                grant=grant,
                purpose=purpose,
            )
            issued.append((lease, event))
        return issued
