"""Auth method `service-principal`: an application in Entra that proves itself by a client secret or a certificate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential

from valetkey_broker.adapters.azure.auth_method import Access
from valetkey_broker.adapters.azure.client_certificate import ClientCertificate, read_client_certificate
from valetkey_broker.adapters.azure.entra import EntraAccess, entra_options
from valetkey_broker.adapters.azure.error_advice import Identity
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
_NONE = Secret("")
_ONE = "exactly one of client_secret and client_certificate"


@dataclass(frozen=True, slots=True)
class ClientSecret(CredentialValue):
    """The secret of a service principal."""

    client_secret: Secret = field(repr=False)


class ServicePrincipal:
    """See ports.AuthMethod and adapters.azure.auth_method.AzureAuthMethod."""

    name = "service-principal"
    title = "Service principal"
    help = (
        "An application in Entra with roles in Azure. The usual choice: Azure roles limit what it may do, it finds "
        "storage accounts by itself, and its tokens are signed with keys that expire within days."
    )
    fetches_keys = True
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
            required=False,
            help="The value of the secret, which Entra shows only once; not its ID. Give either this or a certificate.",
            example="@secret.txt",
        ),
        CredentialField(
            "client_certificate",
            secret=True,
            required=False,
            help="A certificate with its RSA key instead of a secret: PEM, or a PFX file in base64.",
            example="@certificate.pem",
        ),
        CredentialField(
            "client_certificate_password",
            secret=True,
            required=False,
            help="The password of the certificate's key, where it has one.",
            example="@password.txt",
        ),
    )

    def parse(
        self, config: AzureConfig, secrets: Mapping[str, Secret], profile: CloudProfile
    ) -> tuple[AzureConfig, CredentialValue]:
        """Returns what an operator gave, checked; see ports.AuthMethod."""
        _ = profile
        if config.implicit_source:
            raise InvalidFieldError("implicit_source", f"is of no use to the auth method {self.name}", "it left out")
        checked = replace(
            config,
            tenant_id=check_uuid("tenant_id", config.tenant_id),
            client_id=check_uuid("client_id", config.client_id),
        )
        secret, certificate = secrets.get("client_secret", _NONE), secrets.get("client_certificate", _NONE)
        password = secrets.get("client_certificate_password", _NONE)
        if secret and certificate:
            raise InvalidFieldError("client_certificate", "is given besides client_secret", _ONE)
        if password and not certificate:
            raise InvalidFieldError(
                "client_certificate_password", "is given without client_certificate", "a certificate that it opens"
            )
        if certificate:
            return checked, read_client_certificate(certificate.reveal(), password.reveal())
        return checked, ClientSecret(_checked_secret(secret))

    def encode(self, value: CredentialValue) -> Mapping[str, str]:
        """Returns the document that Vault keeps; see ports.AuthMethod."""
        own = _own(value)
        if isinstance(own, ClientCertificate):
            return {"client_certificate": own.pem.reveal()}
        return {"client_secret": own.client_secret.reveal()}

    def decode(self, document: Mapping[str, Any]) -> CredentialValue:
        """Returns the value in a document of Vault's; see ports.AuthMethod."""
        if "client_certificate" in document:
            return ClientCertificate.of(str(document["client_certificate"]))
        return ClientSecret(Secret(str(document["client_secret"])))

    def identity(self, connector: Connector) -> Identity:
        """Returns the service principal."""
        return Identity(f"service principal {connector.azure.client_id}")

    def access(self, connector: Connector, credential: Credential, profile: CloudProfile, network: Network) -> Access:
        """Returns the way into Azure; nothing is asked yet."""
        # Loaded late: see sdk_preload.py.
        from azure.identity.aio import CertificateCredential, ClientSecretCredential  # noqa: PLC0415

        value, azure = _own(credential.value), connector.azure
        options = entra_options(profile, network)
        client: AsyncTokenCredential
        if isinstance(value, ClientCertificate):
            pem = value.pem.reveal().encode("ascii")
            client = CertificateCredential(azure.tenant_id, azure.client_id, certificate_data=pem, **options)
        else:
            client = ClientSecretCredential(azure.tenant_id, azure.client_id, value.client_secret.reveal(), **options)
        return EntraAccess(connector, credential, profile, client, self.identity(connector))


def _checked_secret(given: Secret) -> Secret:
    secret = given.reveal()
    if not secret:
        raise InvalidFieldError("client_secret", "is not given, and client_certificate is not either", _ONE)
    if len(secret) > _MAX_SECRET_LENGTH or not secret.isascii() or not secret.isprintable():
        raise InvalidFieldError(
            "client_secret",
            f"is {len(secret)} characters long, or holds something else than printable ASCII",
            f"the secret's value, 1 to {_MAX_SECRET_LENGTH} printable characters without line ends",
        )
    return given


def _own(value: CredentialValue) -> ClientSecret | ClientCertificate:
    if not isinstance(value, ClientSecret | ClientCertificate):
        raise TypeError("the credential of another auth method")
    return value
