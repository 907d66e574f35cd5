"""What each type of resources brings along to be reached: how Azure lists them, shows one, and takes tokens for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from valetkey_broker.adapters.azure.errors import Asking
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.model import CloudProfile, SasRequest, SignedToken, TokenUse


class StorageService(Protocol):
    """Where the resources of one type are in one account, by whatever opens it. Every method raises BrokerError."""

    async def names(self) -> Sequence[str]:
        """Returns the names of the resources, sorted; those that the type's naming rules do not have are left out."""
        ...

    async def check(self, name: str) -> None:
        """Raises RESOURCE_NOT_FOUND where there is none of that name; rights on that one are enough for it."""
        ...

    async def takes_token(self, name: str) -> bool:
        """Tells whether a token for one resource, which is the credential, is accepted; not what it may do."""
        ...

    async def use_token(self, name: str, use: TokenUse, what: str) -> None:
        """Does one thing with a token; `what` names that which is written, read and deleted. See ports.Cloud."""
        ...


class OpensService(Protocol):
    """Makes a service without asking anybody."""

    def __call__(
        self, profile: CloudProfile, network: Network, credential: Any, account: str, asking: Asking
    ) -> StorageService:
        """Returns the service of an account; `credential` is what Azure's storage clients take."""
        ...


@dataclass(frozen=True, slots=True)
class AzureResourceType:
    """How Azure gives the resources of the type `name` (`model.RESOURCE_TYPES`), and how tokens for them are signed."""

    name: str
    service: OpensService
    sign: Callable[[SasRequest, Sequence[str]], Sequence[SignedToken]]
