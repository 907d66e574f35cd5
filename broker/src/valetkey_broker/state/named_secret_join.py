"""Which connectors use which named secret, and how they work with it."""

from collections.abc import Collection, Sequence

from valetkey_broker.model import Connector, NamedSecret


class NamedSecretJoin:
    """Joins connectors with the named secrets that they refer to by uid, in whatever order both come to be known."""

    def __init__(self) -> None:
        self._secrets: dict[str, NamedSecret] = {}  # by uid
        self._own: dict[str, Connector] = {}  # by name; as their documents say them
        self._users: dict[str, set[str]] = {}  # secret uid → names of connectors

    def use(self, connector: Connector) -> Connector | None:
        """Takes note of a connector; returns it as it works, None where its secret is not known."""
        self.end_use(connector.name)
        if not connector.secret_uid:
            return connector
        self._own[connector.name] = connector
        self._users.setdefault(connector.secret_uid, set()).add(connector.name)
        secret = self._secrets.get(connector.secret_uid)
        return secret.used_by(connector) if secret is not None else None

    def end_use(self, name: str) -> None:
        """Takes note that a connector went; unknown names are passed over."""
        own = self._own.pop(name, None)
        if own is None:
            return
        users = self._users[own.secret_uid]
        users.discard(name)
        if not users:
            del self._users[own.secret_uid]

    def own(self, name: str) -> Connector | None:
        """Returns a connector as its document says it, if it uses a named secret."""
        return self._own.get(name)

    def connectors(self) -> Collection[str]:
        """Returns the names of the connectors that use named secrets, known ones or not."""
        return self._own.keys()

    def put(self, secret: NamedSecret) -> Sequence[Connector]:
        """Takes note of a secret; returns the connectors that use it, as they work now."""
        self._secrets[secret.uid] = secret
        return [secret.used_by(self._own[name]) for name in self.users(secret.uid)]

    def drop(self, secret: NamedSecret) -> None:
        """Takes note that a secret lost its name. While somebody uses it that can only be a rename: it stays."""
        there = self._secrets.get(secret.uid)
        if there is not None and there.name == secret.name and secret.uid not in self._users:
            del self._secrets[secret.uid]

    def knows(self, uid: str) -> bool:
        """Tells whether there is such a secret."""
        return uid in self._secrets

    def users(self, uid: str) -> Sequence[str]:
        """Returns the names of the connectors that use a secret, sorted."""
        return sorted(self._users.get(uid, ()))
