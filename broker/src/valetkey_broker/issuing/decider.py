"""Decides what a caller gets for a request, and finds what signs it."""

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

from valetkey_broker.authz.policy import Allowance, Policy, asked_ttl
from valetkey_broker.authz.revocation_rules import check_container
from valetkey_broker.errors import BrokerError, Reason, identity_expired, identity_revoked, issuer_unavailable
from valetkey_broker.issuing.connector_choice import ConnectorChooser
from valetkey_broker.issuing.scope_choice import Scopes
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import CloudProfile, Connector, Principal, Scope, SigningKey, Standing, TtlLimit
from valetkey_broker.model.statically_frozen import statically_frozen
from valetkey_broker.ports import Clock
from valetkey_broker.settings import IssuingSettings
from valetkey_broker.state.memory import Memory

# Whatever takes longer than this has waited for somebody; a decision from memory takes some 10 µs.
_A_WHILE_SECONDS = 0.001
# Limits that are a point in time, which is Allowance.ends.
_ENDS = (TtlLimit.GRANT_END, TtlLimit.IDENTITY_END)


# Refusals that may come of documents which another replica has changed since the last poll. CONFLICT is that of a
# credential that is gone, for another has taken its place.
_BY_DOCUMENTS = frozenset(
    {
        Reason.RESOURCE_DENIED,
        Reason.RESOURCE_NOT_FOUND,
        Reason.RESOURCE_AMBIGUOUS,
        Reason.ACCESS_REVOKED,
        Reason.SCOPE_UNSUPPORTED,
        Reason.CLOUD_CREDENTIAL_REJECTED,
        Reason.CLOUD_REQUEST_REFUSED,
        Reason.CLOUD_PERMISSION_MISSING,
        Reason.CONFLICT,
    }
)


class Moment(NamedTuple):
    """When some work began: the state of memory, and the seconds of the monotonic clock."""

    changes: int
    seconds: float


@statically_frozen
class Decision:
    """What a request may have, and of what it is made. `changes` is the state of memory for which that was decided."""

    connector: Connector
    profile: CloudProfile
    scope: Scope
    allowance: Allowance
    key: SigningKey
    changes: int

    def makes_the_same(self, other: Self) -> bool:
        """Tells whether a token and its record take the same from both: what one signed, the other would.

        Only its time may differ: what is left until the end of a grant or an identity grows less by itself.
        """
        mine, theirs = self.allowance, other.allowance
        return (
            self.key is other.key
            and self.connector.uid == other.connector.uid
            and self.connector.name == other.connector.name
            and self.connector.credential_version == other.connector.credential_version
            and self.scope == other.scope
            and self.profile == other.profile
            and mine.grant.name == theirs.grant.name
            and mine.source_ip == theirs.source_ip
            and mine.ends == theirs.ends
            and mine.limited_by is theirs.limited_by
            and (mine.ttl == theirs.ttl or mine.limited_by in _ENDS)
        )


class Decider:
    """Decides by what is in memory; waits for nobody, unless Azure has to be asked."""

    def __init__(
        self,
        *,
        memory: Memory,
        policy: Policy,
        chooser: ConnectorChooser,
        scopes: Scopes,
        keys: SigningKeys,
        clock: Clock,
        settings: IssuingSettings,
        standing: Callable[[Principal], Standing],
        catch_up: Callable[[], Awaitable[None]],
    ) -> None:
        """`standing` tells whether a caller could authenticate again now; `catch_up` has memory hear of changes."""
        self._catch_up = catch_up
        self._memory = memory
        self._policy = policy
        self._chooser = chooser
        self._scopes = scopes
        self._keys = keys
        self._clock = clock
        self._default_ttl = settings.default_ttl_seconds
        self._max_ttl = settings.max_ttl_seconds
        self._standing = standing

    async def decide(self, principal: Principal, wanted: TokenRequest) -> Decision:
        """Returns what `principal` gets, which holds until something changes in memory, or `allowance.ends`.

        Raises as Issuer.issue does, but for the ledger's errors, and not by a memory that is behind: what was given at
        another replica a moment ago is not refused.
        """
        changes = self._memory.changes
        try:
            return await self._decide(principal, wanted)
        except BrokerError as error:
            if error.reason not in _BY_DOCUMENTS:
                raise
            await self._catch_up()
            if changes == self._memory.changes:
                raise
        return await self._decide(principal, wanted)

    async def _decide(self, principal: Principal, wanted: TokenRequest) -> Decision:
        resource, permissions = wanted.resource, wanted.permissions
        seconds = asked_ttl(wanted.ttl, self._default_ttl, self._max_ttl)
        while True:
            began = self.moment()
            allowed = self._policy.decide(
                principal,
                resource,
                permissions,
                ttl=seconds,
                connector=wanted.connector,
                source_ip=wanted.source_ip,
            )
            connectors = [a.connector for a in allowed]
            choice = self._chooser.known(connectors, resource)
            if choice is None:
                choice = await self._chooser.choose(principal, connectors, resource)
            connector, profile, container = choice
            allowance = next(a for a in allowed if a.connector is connector)
            if in_force := self._memory.in_force:
                # Which account it is, only now is certain.
                check_container(in_force, principal, allowance.grant, connector, container, resource)
            until = int(self._clock()) + allowance.ttl
            scope = self._scopes.known(connector, container, resource, permissions)
            if scope is None:
                scope = await self._scopes.find(connector, container, resource, permissions, until)
            key = self._keys.held(connector, container.account, until)
            if key is None:
                key = await self._keys.get(connector, container.account, until)
            # Asking Azure takes a while. Was a key, a grant or a connector taken away meanwhile, it is decided again.
            self.check_caller(principal, began)
            decision = Decision(connector, profile, scope, allowance, key, began.changes)
            if self.holds(decision):
                return decision

    def holds(self, decision: Decision) -> bool:
        """Tells whether nothing has changed in memory since `decision`, and it has not ended by itself."""
        return decision.changes == self._memory.changes and self._clock() < decision.allowance.ends

    def moment(self) -> Moment:
        """Returns what there is now."""
        return Moment(self._memory.changes, time.monotonic())

    def check_caller(self, principal: Principal, began: Moment) -> None:
        """Looks whether an identity has ended since it was authenticated, if a while has passed since work `began`.

        Raises CREDENTIALS_INVALID or CREDENTIALS_EXPIRED where it has, ISSUER_UNAVAILABLE where that cannot be told any
        more.
        """
        expired = principal.expires <= self._clock()
        waited = time.monotonic() - began.seconds > _A_WHILE_SECONDS
        if not (expired or waited or began.changes != self._memory.changes):
            return
        if expired:
            raise identity_expired()
        standing = self._standing(principal)
        if standing is Standing.UNKNOWN:
            raise issuer_unavailable()
        if standing is Standing.ENDED:
            raise identity_revoked()
