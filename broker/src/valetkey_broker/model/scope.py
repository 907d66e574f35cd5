"""What a token is cut to: one value from the parsed resource to the signature."""

from dataclasses import dataclass
from enum import Enum

from valetkey_broker.model.resource import Container, ResourceType


class ScopeKind(Enum):
    """How much of a container a token is for; the value is the SAS field `sr`.

    Source: https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas#specify-the-signed-resource-field
    """

    CONTAINER = "c"
    DIRECTORY = "d"
    BLOB = "b"


@dataclass(frozen=True, slots=True)
class Scope:
    """A container, or a directory or a blob in it. `path` is empty for a container.

    `url` is the full URL of what the token is for, without a signature.
    """

    kind: ScopeKind
    resource_type: ResourceType
    account: str
    container: str
    path: str
    url: str

    @classmethod
    def of_container(cls, container: Container) -> "Scope":
        """Returns the scope of a whole container."""
        return cls(ScopeKind.CONTAINER, container.resource_type, container.account, container.name, "", container.url)

    @property
    def resource_id(self) -> str:
        """Canonical id: `az://CONTAINER`, or `az://CONTAINER/PATH`."""
        return f"az://{self.container}/{self.path}" if self.path else f"az://{self.container}"
