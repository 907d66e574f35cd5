"""The copy in memory that every request is answered from."""

from dataclasses import dataclass

from broker.model import ApiKey, Connector, Principal


@dataclass(frozen=True, slots=True)
class KnownKey:
    """An API key with the principal it makes, made once and not at every call. `expires` is in Unix seconds."""

    key: ApiKey
    principal: Principal
    expires: float


class Memory:
    """Connectors and API keys by what they are looked up by. Written by StateRepository only."""

    def __init__(self) -> None:
        self.connectors: dict[str, Connector] = {}
        self.keys_by_name: dict[str, KnownKey] = {}
        self.keys_by_digest: dict[bytes, KnownKey] = {}

    def put_connector(self, connector: Connector) -> None:
        """Adds or replaces a connector."""
        self.connectors[connector.name] = connector

    def drop_connector(self, name: str) -> None:
        """Forgets a connector; unknown names are passed over."""
        self.connectors.pop(name, None)

    def put_api_key(self, key: ApiKey) -> None:
        """Adds or replaces an API key."""
        self.drop_api_key(key.name)
        known = KnownKey(key, Principal(f"key:{key.name}", key.roles, key.connectors), key.expires_at.timestamp())
        self.keys_by_name[key.name] = known
        self.keys_by_digest[key.digest] = known

    def drop_api_key(self, name: str) -> None:
        """Forgets an API key; unknown names are passed over."""
        known = self.keys_by_name.pop(name, None)
        if known is not None and self.keys_by_digest.get(known.key.digest) is known:
            del self.keys_by_digest[known.key.digest]
