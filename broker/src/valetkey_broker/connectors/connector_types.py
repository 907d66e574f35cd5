"""What types of connectors there are, described for people and forms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from valetkey_broker.model import RESOURCE_TYPES, ConnectorType, CredentialField, ResourceType
from valetkey_broker.ports import AuthMethod


@dataclass(frozen=True, slots=True)
class ConnectorTypeDescription:
    """One type, its auth methods with the usual one first, and its resource types.

    `fields` may be given with every auth method; one of them may ask for some of them itself.
    """

    type: ConnectorType
    title: str
    help: str
    auth_methods: Sequence[AuthMethod]
    resource_types: Sequence[ResourceType]
    fields: Sequence[CredentialField]


def _place(name: str, help_text: str, example: str) -> CredentialField:
    return CredentialField(name, secret=False, required=False, help=help_text, example=example)


_AZURE_PLACES = (
    _place(
        "storage_account",
        "The one storage account to look in. Left out, accounts are found through Azure Resource Manager, for which "
        "the identity needs the role Reader.",
        "contosoml",
    ),
    _place(
        "subscription_id",
        "Subscription to look for accounts in, a UUID. Left out, all that the identity sees.",
        "33333333-3333-4333-8333-333333333333",
    ),
    _place("resource_group", "Resource group to look for accounts in. Left out, all.", "ml-production"),
    _place(
        "cloud",
        "Cloud profile of the broker's settings, for sovereign clouds and tests. Left out, the broker's default.",
        "azure-public",
    ),
)


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
            resource_types=tuple(RESOURCE_TYPES.values()),
            fields=_AZURE_PLACES,
        ),
    )
