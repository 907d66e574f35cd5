"""Auth method `service-principal`: an application in Entra that proves itself by a client secret."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from azure.identity.aio import ClientSecretCredential

from valetkey_broker.adapters.azure.auth_method import Access
from valetkey_broker.adapters.azure.entra import EntraAccess, entra_options
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.model import (
    AzureConfig,
    CloudProfile,
    Connector,
    Credential,
    CredentialField,
    CredentialValue,
    InvalidFieldError,
    Secret,
    check_uuid,
)

_MAX_SECRET_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class ClientSecret(CredentialValue):
    """The secret of a service principal."""

    client_secret: Secret = field(repr=False)


class ServicePrincipal:
    """See ports.AuthMethod and adapters.azure.auth_method.AzureAuthMethod."""

    name = "service-principal"
    fields: Sequence[CredentialField] = (
        CredentialField(
            "tenant_id",
            secret=False,
            required=True,
            help="Entra tenant of the application, a UUID.",
            example="11111111-1111-4111-8111-111111111111",
        ),
        CredentialField(
            "client_id",
            secret=False,
            required=True,
            help="Application (client) id of the service principal, a UUID.",
            example="22222222-2222-4222-8222-222222222222",
        ),
        CredentialField(
            "client_secret",
            secret=True,
            required=True,
            help="The secret's value, as Entra showed it once; not its id.",
            example="@secret.txt",
        ),
    )

    def parse(self, config: AzureConfig, secrets: Mapping[str, Secret]) -> tuple[AzureConfig, CredentialValue]:
        """Returns what an operator gave, checked; see ports.AuthMethod."""
        given = secrets.get("client_secret", Secret(""))
        secret = given.reveal()
        if not secret or len(secret) > _MAX_SECRET_LENGTH or not secret.isascii() or not secret.isprintable():
            raise InvalidFieldError(
                "client_secret",
                f"is {len(secret)} characters long, or holds something else than printable ASCII",
                f"the secret's value, 1 to {_MAX_SECRET_LENGTH} printable characters without line ends",
            )
        checked = replace(
            config,
            tenant_id=check_uuid("tenant_id", config.tenant_id),
            client_id=check_uuid("client_id", config.client_id),
        )
        return checked, ClientSecret(given)

    def encode(self, value: CredentialValue) -> Mapping[str, str]:
        """Returns the document that Vault keeps; see ports.AuthMethod."""
        return {"client_secret": _own(value).client_secret.reveal()}

    def decode(self, document: Mapping[str, Any]) -> CredentialValue:
        """Returns the value in a document of Vault's; see ports.AuthMethod."""
        return ClientSecret(Secret(str(document["client_secret"])))

    def access(self, connector: Connector, credential: Credential, profile: CloudProfile, network: Network) -> Access:
        """Returns the way into Azure; nothing is asked yet."""
        secret = _own(credential.value).client_secret
        client = ClientSecretCredential(
            connector.azure.tenant_id,
            connector.azure.client_id,
            secret.reveal(),
            **entra_options(profile, network),
        )
        return EntraAccess(connector, credential, profile, client)


def _own(value: CredentialValue) -> ClientSecret:
    if not isinstance(value, ClientSecret):
        raise TypeError("the credential of another auth method")
    return value
