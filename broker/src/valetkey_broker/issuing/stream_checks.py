"""Whether a stream of tokens may go on, for how long, and why not."""

import time
from collections.abc import Callable, Mapping

from valetkey_broker.authz.policy import Policy
from valetkey_broker.authz.revocation_rules import covering, refused
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.issuing.signer_identity import signer_of
from valetkey_broker.issuing.stream_end_reasons import AccessRevoked, End, EndReason
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import Connector, Lease, Principal, ResourceId, Standing
from valetkey_broker.model.revocation import TokenUseFacts
from valetkey_broker.ports import AuthMethod, Clock
from valetkey_broker.state.memory import Memory

# Azure's own limit: asked with it, the grant that reaches furthest is found.
_LONGEST_SECONDS = 7 * 24 * 3600
_CLOCK_WAS_SET_SECONDS = 0.5


class StreamChecks:
    """Looks at what this process holds in memory; waits for nobody."""

    def __init__(
        self,
        *,
        policy: Policy,
        memory: Memory,
        standing: Callable[[Principal], Standing],
        clock: Clock,
        auth_methods: Mapping[str, AuthMethod],
        refreshed: Callable[[Principal], Principal],
        keys_not_before: Callable[[Connector, str], int],
        vouchers: Callable[[], object],
    ) -> None:
        """The arguments are those of TokenWatcher."""
        self._policy = policy
        self._memory = memory
        self.standing = standing
        self._clock = clock
        self._auth_methods = auth_methods
        self.refreshed = refreshed
        self._keys_not_before = keys_not_before
        self._vouchers = vouchers
        self._ahead = clock() - time.monotonic()
        self.stopping = False

    @property
    def changes(self) -> int:
        """Goes up with every document that comes, changes or goes."""
        return self._memory.changes

    def news(self) -> object:
        """Returns something else than before whenever streams may have to end, or to go on, sooner than they know.

        What documents say may have changed, who vouches for callers, or the clock: somebody set it.
        """
        ahead = self._clock() - time.monotonic()
        if abs(ahead - self._ahead) > _CLOCK_WAS_SET_SECONDS:
            self._ahead = ahead
        return self.changes, self._vouchers(), self._ahead, self.stopping

    def identity_ends(self, principal: Principal) -> float:
        """Returns when the caller's identity ends, as far as is known now, in Unix seconds."""
        return self.refreshed(principal).expires

    def gone(self, principal: Principal) -> EndReason | None:
        if self.stopping:
            return EndReason.SHUTDOWN
        if self.identity_ends(principal) <= self._clock():
            return EndReason.IDENTITY_EXPIRED
        # UNKNOWN is not ENDED: while the issuer cannot be reached the stream stays open, and gets no new token.
        return EndReason.IDENTITY_REVOKED if self.standing(principal) is Standing.ENDED else None

    def allowed_until(self, principal: Principal, request: TokenRequest, lease: Lease) -> float | None:
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

    def signer(self, lease: Lease) -> str:
        """Returns who signed a token; empty where nobody can tell: the connector has another credential by now."""
        connector = self._connector(lease)
        same = connector is not None and connector.credential_version == lease.credential_version
        return signer_of(connector, self._auth_methods) if connector is not None and same else ""

    def has_new_signer(self, lease: Lease, signer: str) -> bool:
        connector = self._connector(lease)
        if connector is None:
            return False
        # No token begins before its key: one that begins before the revocation of keys is of a dead one.
        if lease.starts < self._keys_not_before(connector, lease.scope.account):
            return True
        another = connector.credential_version != lease.credential_version
        return another and signer_of(connector, self._auth_methods) != signer

    def revoked(self, lease: Lease) -> AccessRevoked | None:
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

    def why_not(self, lease: Lease) -> End:
        if (revoked := self.revoked(lease)) is not None:
            return revoked
        return EndReason.CONNECTOR_GONE if self._connector(lease) is None else EndReason.GRANT_GONE
