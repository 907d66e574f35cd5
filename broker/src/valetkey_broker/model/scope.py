"""What a token is cut to: one value from the parsed resource to the signature."""

from dataclasses import dataclass
from enum import Enum, auto

from valetkey_broker.model.resource import Container, ResourceId


class ScopeKind(Enum):
    """How much of a container a token is for; the value is the SAS field `sr`.

    Source: https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas#specify-the-signed-resource-field
    """

    CONTAINER = "c"
    DIRECTORY = "d"
    BLOB = "b"


class TokenUse(Enum):
    """What a token is tried with. A blob that is written holds its own name."""

    WRITE = auto()
    READ = auto()
    LIST = auto()
    DELETE = auto()
    OUTSIDE = auto()
    """Lists the account's containers, which no token for a container is for."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A container, or a directory or a blob in it. `path` is empty for a container, and never ends in a slash.

    `url` is the full URL of what the token is for, without a signature; that of a directory ends in a slash.
    """

    kind: ScopeKind
    resource_type: str
    account: str
    container: str
    path: str
    url: str

    @classmethod
    def of_container(cls, container: Container) -> "Scope":
        """Returns the scope of a whole container."""
        return cls(ScopeKind.CONTAINER, container.resource_type, container.account, container.name, "", container.url)

    @classmethod
    def of_path(cls, container: Container, path: str, *, directory: bool) -> "Scope":
        """Returns the scope of one blob, or of a directory with all that is below it."""
        kind, slash = (ScopeKind.DIRECTORY, "/") if directory else (ScopeKind.BLOB, "")
        url = f"{container.url}/{path}{slash}"
        return cls(kind, container.resource_type, container.account, container.name, path, url)

    @property
    def resource_id(self) -> str:
        """Canonical id, of containers `az://CONTAINER`, `az://CONTAINER/BLOB` or `az://CONTAINER/DIRECTORY/`."""
        directory = self.kind is ScopeKind.DIRECTORY
        return str(ResourceId(self.container, self.path, directory=directory, type=self.resource_type))
