"""What types of connectors there are, described for people and forms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from valetkey_broker.model import ConnectorType, ResourceType
from valetkey_broker.ports import AuthMethod


@dataclass(frozen=True, slots=True)
class ResourceTypeDescription:
    """What a connector gives access to; `id_examples` begin with the canonical form of its ids."""

    title: str
    help: str
    id_examples: Sequence[str]


@dataclass(frozen=True, slots=True)
class ConnectorTypeDescription:
    """One type, its auth methods with the usual one first, and its resource types."""

    type: ConnectorType
    title: str
    help: str
    auth_methods: Sequence[AuthMethod]
    resource_types: Mapping[ResourceType, ResourceTypeDescription]


RESOURCE_TYPES: Mapping[ResourceType, ResourceTypeDescription] = {
    ResourceType.BLOB_CONTAINER: ResourceTypeDescription(
        title="Blob container",
        help=(
            "A container of Azure Blob Storage. Callers get SAS tokens for it, with the permissions and the life that "
            "their grants say."
        ),
        id_examples=(
            "az://CONTAINER",
            "CONTAINER",
            "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net",
            "https://ACCOUNT.blob.core.windows.net/CONTAINER",
        ),
    ),
}
"""Every resource type, a row each."""


def connector_types(auth_methods: Mapping[str, AuthMethod]) -> Sequence[ConnectorTypeDescription]:
    """Returns the types that connectors can have, with the auth methods of this broker."""
    return (
        ConnectorTypeDescription(
            type=ConnectorType.AZURE,
            title="Azure",
            help=(
                "Azure Blob Storage. The long-lived credential stays in Vault; what leaves the broker are SAS tokens, "
                "short-lived and for one resource each."
            ),
            auth_methods=tuple(auth_methods.values()),
            resource_types=RESOURCE_TYPES,
        ),
    )
