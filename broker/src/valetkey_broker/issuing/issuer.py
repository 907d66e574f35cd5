"""Issues tokens.

The order of the steps is the security property: nothing is asked of Azure for a caller who may not, and no token
leaves that is not recorded.
"""

import math
import os
import time
from collections.abc import Callable

from valetkey_broker.authz.policy import Allowance, Policy, asked_ttl
from valetkey_broker.authz.revoked import check_container
from valetkey_broker.errors import identity_expired, identity_revoked, issuer_unavailable
from valetkey_broker.issuing.connector_choice import ConnectorChooser
from valetkey_broker.issuing.scopes import Scopes
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import (
    CallInfo,
    CloudProfile,
    Connector,
    Event,
    EventKind,
    Lease,
    PermissionSet,
    Principal,
    SasRequest,
    Scope,
    SignedToken,
    SigningKey,
    Standing,
    TtlLimit,
)
from valetkey_broker.observability.redaction import scrub
from valetkey_broker.ports import Clock, Cloud, Ledger
from valetkey_broker.settings import IssuingSettings
from valetkey_broker.state.memory import Memory

# Of the 80 bits behind the time: version 7, variant 0b10, and what chance fills.
_VERSION_AND_VARIANT = 0x7000_8000_0000_0000_0000
_RANDOM_BITS = 0x0FFF_3FFF_FFFF_FFFF_FFFF
# Whatever takes longer than this has waited for somebody; a decision from memory takes some 10 µs.
_A_WHILE_SECONDS = 0.001


class Issuer:
    """The use case of TokenService."""

    def __init__(
        self,
        *,
        memory: Memory,
        policy: Policy,
        chooser: ConnectorChooser,
        scopes: Scopes,
        keys: SigningKeys,
        cloud: Cloud,
        ledger: Ledger,
        clock: Clock,
        settings: IssuingSettings,
        standing: Callable[[Principal], Standing],
    ) -> None:
        """`standing` tells whether a caller could authenticate again now."""
        self._memory = memory
        self._policy = policy
        self._chooser = chooser
        self._scopes = scopes
        self._keys = keys
        self._cloud = cloud
        self._ledger = ledger
        self._clock = clock
        self._default_ttl = settings.default_ttl_seconds
        self._max_ttl = settings.max_ttl_seconds
        self._standing = standing
        self._skew = settings.clock_skew_seconds

    async def issue(self, call: CallInfo, wanted: TokenRequest) -> Lease:
        """Issues one token to the caller of `call`.

        The token may end earlier than asked, with what its grant allows or with its key. Waits for nobody but the
        ledger, unless Azure has to be asked. Raises InvalidFieldError for a ttl over the limit, BrokerError:
        RESOURCE_DENIED, ACCESS_REVOKED, RESOURCE_NOT_FOUND, RESOURCE_AMBIGUOUS, SCOPE_UNSUPPORTED, CREDENTIALS_INVALID
        or CREDENTIALS_EXPIRED where the caller's identity ended meanwhile, ISSUER_UNAVAILABLE where that cannot be told
        any more, LEDGER_UNAVAILABLE, or one of ports.Cloud.
        """
        resource, permissions = wanted.resource, wanted.permissions
        seconds = self._checked_ttl(wanted.ttl)
        while True:
            changes, began = self._memory.changes, time.monotonic()
            allowed = self._policy.decide(
                call.principal,
                resource,
                permissions,
                ttl=seconds,
                connector=wanted.connector,
                source_ip=wanted.source_ip,
            )
            connectors = [a.connector for a in allowed]
            choice = self._chooser.known(connectors, resource)
            if choice is None:
                choice = await self._chooser.choose(call.principal, connectors, resource)
            connector, profile, container = choice
            allowance = next(a for a in allowed if a.connector is connector)
            if in_force := self._memory.in_force:
                # Which account it is, only now is certain.
                check_container(in_force, call.principal, allowance.grant, connector, container, resource)
            until = int(self._clock()) + allowance.ttl
            scope = self._scopes.known(connector, container, resource, permissions)
            if scope is None:
                scope = await self._scopes.find(connector, container, resource, permissions, until)
            key = self._keys.held(connector, container.account, until)
            if key is None:
                key = await self._keys.get(connector, container.account, until)
            now = self._clock()
            # Asking Azure takes a while. Was a key, a grant or a connector taken away meanwhile, it is decided again.
            changed = changes != self._memory.changes
            if changed or now >= call.principal.expires or time.monotonic() - began > _A_WHILE_SECONDS:
                self._check_caller(call.principal, now)
            if not changed and now < allowance.ends:
                break
        lease, signed = self._signed(call, connector, profile, scope, allowance, permissions, key, now)
        # Nothing leaves that is not on record.
        await self._ledger.record(_event(call, lease, signed, now, wanted.purpose))
        return lease

    def _check_caller(self, principal: Principal, now: float) -> None:
        if principal.expires <= now:
            raise identity_expired()
        standing = self._standing(principal)
        if standing is Standing.UNKNOWN:
            raise issuer_unavailable()
        if standing is Standing.ENDED:
            raise identity_revoked()

    def _signed(
        self,
        call: CallInfo,
        connector: Connector,
        profile: CloudProfile,
        scope: Scope,
        allowance: Allowance,
        permissions: PermissionSet,
        key: SigningKey,
        now: float,
    ) -> tuple[Lease, SignedToken]:
        lease_id = _new_lease_id(now)
        starts = max(int(now) - self._skew, math.ceil(key.starts))
        until = min(int(now) + allowance.ttl, allowance.ends)
        expires = int(min(until, key.expires))
        limit = TtlLimit.KEY_END if key.expires < until else allowance.limited_by
        signed = self._cloud.sign(
            SasRequest(
                profile=profile,
                scope=scope,
                permissions=permissions,
                starts=starts,
                expires=expires,
                source_ip=allowance.source_ip,
                lease_id=lease_id,
                key=key,
            )
        )
        lease = Lease(
            id=lease_id,
            principal=call.principal.name,
            grant=allowance.grant.name,
            connector=connector.name,
            connector_uid=connector.uid,
            credential_version=connector.credential_version,
            scope=scope,
            permissions=permissions,
            starts=starts,
            expires=expires,
            sas_token=signed.sas_token,
            ttl_limited_by=limit,
        )
        return lease, signed

    def _checked_ttl(self, ttl: int | None) -> int:
        return asked_ttl(ttl, self._default_ttl, self._max_ttl)


def _event(call: CallInfo, lease: Lease, signed: SignedToken, now: float, purpose: str) -> Event:
    return Event(
        kind=EventKind.TOKEN_ISSUED,
        time=now,
        request_id=call.request_id,
        method=call.method,
        principal=lease.principal,
        authentication=call.principal.evidence._value_,  # Python's own way to it costs half a microsecond.
        peer=call.peer,
        connector=lease.connector,
        connector_uid=lease.connector_uid,
        credential_version=lease.credential_version,
        resource=lease.scope.url,
        permissions=lease.permissions.sp,
        ttl=lease.expires - int(now),
        expires=lease.expires,
        lease_id=lease.id,
        signature_sha256=signed.signature_sha256,
        grant=lease.grant,
        purpose=scrub(purpose) if purpose else "",  # People paste the wrong thing.
    )


def _new_lease_id(now: float) -> str:
    """Returns a UUID (RFC 9562, version 7): milliseconds, then random bits.

    Those of one time lie together in the ledger's index; random ones would each touch a page of their own.
    """
    random = int.from_bytes(os.urandom(10), "big")
    number = int(now * 1000) << 80 | random & _RANDOM_BITS | _VERSION_AND_VARIANT
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
