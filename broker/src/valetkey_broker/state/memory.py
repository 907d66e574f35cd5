"""The copy in memory that every request is answered from."""

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from valetkey_broker.model import ApiKey, Connector, Evidence, Grant, NamedSecret, Principal, Rotation, rotation_path
from valetkey_broker.model.principal import principal_of_key
from valetkey_broker.model.revocation import Revocation, SignerKind
from valetkey_broker.state.named_secret_join import NamedSecretJoin

GrantListener = Callable[[Grant | None, Grant | None], None]
"""Hears of a grant that changed: what it was, and what it is; None for "not there"."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One secret of an API key with the principal it makes, made once and not at every call.

    `expires` is in Unix seconds; `replaced` says that the key has another secret by now.
    """

    key: ApiKey
    principal: Principal
    expires: float
    replaced: bool = False


def _known(key: ApiKey, ends_at: datetime, *, replaced: bool = False) -> KnownKey:
    expires = ends_at.timestamp()
    principal = Principal(principal_of_key(key.name), key.roles, Evidence.API_KEY, expires)
    return KnownKey(key, principal, expires, replaced)


class Memory:
    """Connectors, secrets, API keys, grants and revocations, to be looked up. Written by this package only.

    A connector that uses a named secret is here as it works with it, and not while the secret is unknown. `changes`
    counts up whenever a connector, a key, a grant or a revocation changes: what was decided at one count still holds at
    the same.
    """

    def __init__(self) -> None:
        self.connectors: dict[str, Connector] = {}
        self.secrets: dict[str, NamedSecret] = {}
        self.named_secrets = NamedSecretJoin()
        self.keys_by_name: dict[str, KnownKey] = {}
        self.keys_by_digest: dict[bytes, KnownKey] = {}
        self.grants: dict[str, Grant] = {}
        self.rotations: dict[str, Rotation] = {}
        """By path: the last rotation of each object that ever had one, as far as this process heard of it."""
        self.revocations: dict[str, Revocation] = {}
        self.in_force: tuple[Revocation, ...] = ()
        """The revocations that were not lifted."""
        self._dead_keys: dict[tuple[str, str], int] = {}
        self.changes = 0
        self._grant_listeners: list[GrantListener] = []

    def put_connector(self, connector: Connector) -> None:
        """Adds or replaces a connector, as its document says it."""
        self._show_connector(connector.name, self.named_secrets.use(connector))

    def drop_connector(self, name: str) -> None:
        """Forgets a connector; unknown names are passed over."""
        self.named_secrets.end_use(name)
        self._show_connector(name, None)

    def stored_connector(self, name: str) -> Connector | None:
        """Returns a connector as its document says it, without what it takes from a named secret."""
        return self.named_secrets.own(name) or self.connectors.get(name)

    def put_secret(self, secret: NamedSecret) -> None:
        """Adds or replaces a named secret; whatever uses it works with it from now on."""
        self.drop_secret(secret.name)  # It may be another one of the same name.
        self.secrets[secret.name] = secret
        for connector in self.named_secrets.put(secret):
            self._show_connector(connector.name, connector)

    def drop_secret(self, name: str) -> None:
        """Forgets a name of a secret. Connectors that use it go on: it got another name, of which news are to come."""
        secret = self.secrets.pop(name, None)
        if secret is not None:
            self.named_secrets.drop(secret)

    def _show_connector(self, name: str, connector: Connector | None) -> None:
        if self.connectors.get(name) == connector:
            return
        self.changes += 1
        if connector is None:
            del self.connectors[name]
        else:
            self.connectors[name] = connector

    def put_api_key(self, key: ApiKey) -> None:
        """Adds or replaces an API key; one that did not change stays as it is."""
        before = self.keys_by_name.get(key.name)
        if before is not None and before.key == key:
            return
        self.drop_api_key(key.name)
        for each in key.earlier:
            self.keys_by_digest[each.digest] = _known(key, each.ends_at, replaced=True)
        self.keys_by_name[key.name] = self.keys_by_digest[key.digest] = _known(key, key.expires_at)
        self.changes += 1

    def drop_api_key(self, name: str) -> None:
        """Forgets an API key; unknown names are passed over."""
        known = self.keys_by_name.pop(name, None)
        if known is None:
            return
        self.changes += 1
        for digest in (known.key.digest, *(each.digest for each in known.key.earlier)):
            there = self.keys_by_digest.get(digest)
            if there is not None and there.key is known.key:
                del self.keys_by_digest[digest]

    def put_grant(self, grant: Grant) -> None:
        """Adds or replaces a grant; one that did not change is no news to anybody."""
        before = self.grants.get(grant.name)
        if before != grant:
            self.grants[grant.name] = grant
            self._tell(before, grant)

    def drop_grant(self, name: str) -> None:
        """Forgets a grant; unknown names are passed over."""
        before = self.grants.pop(name, None)
        if before is not None:
            self._tell(before, None)

    def put_rotation(self, rotation: Rotation) -> None:
        """Adds or replaces a rotation."""
        self.rotations[rotation.path] = rotation

    def drop_rotation(self, name: str) -> None:
        """Forgets a rotation by the last part of its path; unknown ones are passed over."""
        self.rotations.pop(f"rotations/{name}", None)

    def rotation_of(self, object_path: str, uid: str) -> Rotation | None:
        """Returns the rotation under way of the object at `connectors/NAME` or `secrets/NAME`, as far as is known.

        One of an object of another uid, which had the name before, is not.
        """
        there = self.rotations.get(rotation_path(object_path))
        return there if there is not None and there.object_uid == uid and not there.state.ended else None

    def put_revocation(self, revocation: Revocation) -> None:
        """Adds or replaces a revocation."""
        before = self.revocations.get(revocation.name)
        if before != revocation:
            self.revocations[revocation.name] = revocation
            self._count_revocation(before, revocation)

    def drop_revocation(self, name: str) -> None:
        """Forgets a revocation; unknown names are passed over."""
        before = self.revocations.pop(name, None)
        if before is not None:
            self._count_revocation(before, None)

    def keys_not_before(self, connector: Connector, account: str) -> int:
        """Returns when user delegation keys of an account have to begin at the earliest (Unix seconds).

        Those that begin earlier were revoked, or an operator had them dropped.
        """
        return max(connector.keys_not_before, self._dead_keys.get((connector.azure.cloud, account), 0))

    def _count_revocation(self, before: Revocation | None, after: Revocation | None) -> None:
        """Takes one into account that came, changed or went: they are kept for ever, and not gone through each time."""
        self.changes += 1
        in_force = [each for each in self.in_force if before is None or each.name != before.name]
        if after is not None and after.in_force:
            bisect.insort(in_force, after, key=lambda each: (each.created_at, each.name))
        self.in_force = tuple(in_force)
        # Lifting one gives no key its life back. One that somebody takes out of Vault by hand does.
        alive = not set(_ended_keys(before)) <= set(_ended_keys(after))
        if alive:
            self._dead_keys.clear()
        for revocation in self.revocations.values() if alive else (after,):
            for place, at in _ended_keys(revocation):
                self._dead_keys[place] = max(at, self._dead_keys.get(place, 0))

    def watch_grants(self, listener: GrantListener) -> None:
        """Calls `listener` with every grant there is, and from now on with each change, as it happens."""
        for grant in self.grants.values():
            listener(None, grant)
        self._grant_listeners.append(listener)

    def _tell(self, before: Grant | None, after: Grant | None) -> None:
        self.changes += 1
        for listener in self._grant_listeners:
            listener(before, after)


def _ended_keys(revocation: Revocation | None) -> Iterator[tuple[tuple[str, str], int]]:
    """Gives cloud and account whose user delegation keys were revoked, with the time before which they are dead."""
    for keys in revocation.keys if revocation is not None else ():
        if keys.kind is SignerKind.USER_DELEGATION_KEY and keys.revoked_at:
            yield (keys.cloud, keys.account), keys.revoked_at
