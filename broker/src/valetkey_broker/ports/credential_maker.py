"""What makes credentials in the cloud, as a Protocol: secrets of applications, and keys of storage accounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from valetkey_broker.model import Connector, Credential, Secret


@dataclass(frozen=True, slots=True)
class ApplicationPassword:
    """A client secret of an application, as far as the cloud tells: `hint` is how it begins, `ends_at` its end."""

    key_id: str
    display_name: str
    hint: str = field(default="", repr=False)
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A client secret that was made just now; its value is told this once."""

    key_id: str
    value: Secret


class CredentialMaker(Protocol):
    """Makes and removes credentials by the rights of one connector, `by`, with its credential.

    Nothing is tried twice here: whether an answer that did not come was given, the caller has to find out. Raises
    BrokerError as `ports.Cloud` does: CLOUD_UNAVAILABLE where it may have been done all the same; after
    CLOUD_THROTTLED, CLOUD_PERMISSION_MISSING and the other refusals it was not.
    """

    async def passwords(self, by: Connector, credential: Credential, client_id: str) -> Sequence[ApplicationPassword]:
        """Returns the secrets of an application; one that was made just now may be missing for a while."""
        ...

    async def add_password(
        self, by: Connector, credential: Credential, client_id: str, display_name: str, ends: datetime
    ) -> NewPassword:
        """Makes a secret that is good until `ends`; Entra takes a while to know it everywhere."""
        ...

    async def remove_password(self, by: Connector, credential: Credential, client_id: str, key_id: str) -> None:
        """Removes a secret. Raises CLOUD_REQUEST_REFUSED or RESOURCE_NOT_FOUND where none of that id is known."""
        ...

    async def account_keys(self, by: Connector, credential: Credential, account: str) -> Mapping[str, Secret]:
        """Returns the keys of a storage account by name: `key1` and `key2`."""
        ...

    async def regenerate_key(
        self, by: Connector, credential: Credential, account: str, name: str
    ) -> Mapping[str, Secret]:
        """Replaces the key of that name and returns both; all that the old one signed ends."""
        ...
