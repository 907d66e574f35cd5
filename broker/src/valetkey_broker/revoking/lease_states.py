"""Whether issued tokens can still be used, by what was revoked."""

from collections.abc import Mapping

from valetkey_broker.authz.revocation_rules import covering
from valetkey_broker.model import Connector, Event
from valetkey_broker.model.revocation import KeyRevocation, LeaseState, Revocation, SignerKind
from valetkey_broker.ports import AuthMethod, Clock
from valetkey_broker.revoking.impact import token_facts
from valetkey_broker.state.memory import Memory

# A key is fetched to begin at least a minute ago; of that, the half is left for clocks that differ.
_BACKDATED_SECONDS = 30


class LeaseStates:
    """Says it from memory."""

    def __init__(self, memory: Memory, auth_methods: Mapping[str, AuthMethod], clock: Clock) -> None:
        self._memory = memory
        self._auth_methods = auth_methods
        self._clock = clock

    def of(self, lease: Event) -> tuple[LeaseState, str]:
        """Returns the state of an issued token, and the revocation that covers it or ended it, empty for none."""
        now = self._clock()
        if lease.expires <= now:
            return LeaseState.ENDED, ""
        known = self._memory.revocations
        if not known:
            return LeaseState.LIVE, ""
        token = token_facts(lease)
        found = LeaseState.LIVE, ""

        def covers(revocation: Revocation) -> bool:
            lifted_at = revocation.lifted_at
            return revocation.target.covers(token) and (lifted_at is None or lease.time < lifted_at.timestamp())

        for revocation in known.values():
            for keys in revocation.keys:
                if keys.account == token.account and self._signed(lease, keys, of_unaware=covers(revocation)):
                    if keys.is_over(now):
                        return LeaseState.REVOKED, revocation.name
                    found = LeaseState.REVOKING, revocation.name
            if found[0] is not LeaseState.REVOKING and revocation.in_force and revocation.target.covers(token):
                # Issued later, it would not be there.
                under_way = [keys for keys in revocation.keys if not keys.is_over(now)]
                ordered = revocation.hard and any(keys.account == token.account for keys in under_way)
                found = LeaseState.REVOKING if ordered else LeaseState.WAITING, revocation.name
        return found

    def refused(self, lease: Event) -> bool:
        """Tells whether storage refuses a token, or its end is over."""
        return self.of(lease)[0] in (LeaseState.REVOKED, LeaseState.ENDED)

    def proved_dead(self, lease: Event) -> bool:
        """Tells whether storage refused, for an earlier revocation, the very account key that signed a token.

        More narrowly than `of`: what is left out of a revocation because of this must not live on. An older credential
        may be the account's other key, and one that was replaced with none tried on storage may live.
        """
        connector = self._memory.connectors.get(lease.connector)
        if connector is None or connector.uid != lease.connector_uid:
            return False
        account = token_facts(lease).account
        return any(
            keys.proved_at
            and keys.kind is SignerKind.ACCOUNT_KEY
            and keys.account == account
            and keys.rotates_uid in (connector.uid, connector.secret_uid)
            and keys.version == lease.credential_version
            for revocation in self._memory.revocations.values()
            for keys in revocation.keys
        )

    def covering(self, lease: Event) -> Revocation | None:
        """Returns the revocation in force because of which no further such token is given; of several the first."""
        return covering(self._memory.in_force, token_facts(lease))

    def keys_not_before(self, connector: Connector, account: str) -> int:
        """Returns when keys that sign for a connector have to begin at the earliest (Unix seconds); 0 for any."""
        if not self._auth_methods[connector.auth_method].fetches_keys:
            return 0
        return self._memory.keys_not_before(connector, account)

    def _signed(self, lease: Event, keys: KeyRevocation, *, of_unaware: bool) -> bool:
        """Tells whether a key that was revoked signed a token: it was issued before, in that cloud.

        Or, with `of_unaware`, soon after: what the revocation covers, a replica issued that had not heard of it, from a
        key that began before. What else such a replica issued is dead as well, and shows as live.
        """
        connector = self._memory.connectors.get(lease.connector)
        if keys.kind is SignerKind.ACCOUNT_KEY:
            if not keys.revoked_at or connector is None or connector.uid != lease.connector_uid:
                return False
            # An older credential may be the account's other key, which lives on.
            return (
                keys.rotates_uid in (connector.uid, connector.secret_uid) and lease.credential_version == keys.version
            )
        ended = bool(keys.revoked_at) and lease.time < keys.revoked_at + (_BACKDATED_SECONDS if of_unaware else 0)
        if connector is not None and connector.uid == lease.connector_uid:
            fetches = self._auth_methods[connector.auth_method].fetches_keys
            return ended and fetches and connector.azure.cloud == keys.cloud
        return ended
