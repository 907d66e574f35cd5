"""What each auth method of Azure has to bring along."""

from typing import Any, Protocol

from valetkey_broker.adapters.azure.error_advice import Identity
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.model import CloudProfile, Connector, Credential, SigningKey
from valetkey_broker.ports import AuthMethod


class SigningStorage(Protocol):
    """The blob service of one account, as far as making signing keys needs it."""

    async def delegation_key(self, starts: float, expires: float) -> SigningKey:
        """Returns a user delegation key, good from `starts` to `expires` (Unix seconds). Raises BrokerError."""
        ...


class Access(Protocol):
    """The way into Azure that one credential of one connector opens. Made without asking anybody."""

    @property
    def storage_credential(self) -> Any:
        """What Azure's storage clients take as their credential."""
        ...

    @property
    def arm_credential(self) -> Any | None:
        """What Azure's management clients take as theirs; None where Azure Resource Manager cannot be asked."""
        ...

    def serves(self, connector: Connector, credential: Credential) -> bool:
        """Tells whether this way was made for just that configuration and credential."""
        ...

    async def prove(self) -> None:
        """Proves the credential good, without what is remembered of earlier log-ins. Raises BrokerError."""
        ...

    async def signing_key(self, storage: SigningStorage, starts: float, expires: float) -> SigningKey:
        """Returns a key that signs tokens between `starts` and `expires` (Unix seconds). Raises BrokerError."""
        ...


class AzureAuthMethod(AuthMethod, Protocol):
    """An auth method that knows how to get into Azure."""

    def identity(self, connector: Connector) -> Identity:
        """Returns who a connector is to Azure, for its errors."""
        ...

    def access(self, connector: Connector, credential: Credential, profile: CloudProfile, network: Network) -> Access:
        """Returns the way in for a credential that `decode` or `parse` made."""
        ...
