"""Auth method `connection-string`: a storage account's key as Azure hands it out, with the account's name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from valetkey_broker.adapters.azure.auth_method import Access
from valetkey_broker.adapters.azure.connection_string import (
    AccountAndKey,
    read_connection_string,
    read_written,
    write_connection_string,
)
from valetkey_broker.adapters.azure.error_advice import Identity
from valetkey_broker.adapters.azure.shared_key import SharedKeyAccess, check_nothing_else, shared_key_identity
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
)


class ConnectionStringMethod:
    """See ports.AuthMethod and adapters.azure.auth_method.AzureAuthMethod.

    From then on the connector is one with an account's key: Vault keeps the account and the key, and where the account
    is, the cloud's profile says.
    """

    name = "connection-string"
    title = "Connection string"
    help = (
        "The name and key of a storage account in one line, as Azure shows them. The broker stores both, so the same "
        "applies as to an account key. Its endpoints must be those of the connector's cloud."
    )
    fetches_keys = False
    fields: Sequence[CredentialField] = (
        CredentialField(
            "connection_string",
            secret=True,
            required=True,
            help="Connection string of the account, with its key.",
            example="@connection-string.txt",
        ),
    )

    def parse(
        self, config: AzureConfig, secrets: Mapping[str, Secret], profile: CloudProfile
    ) -> tuple[AzureConfig, CredentialValue]:
        """Returns what an operator gave, checked, with the string's account; see ports.AuthMethod."""
        check_nothing_else(self.name, config)
        value = read_connection_string(secrets.get("connection_string", Secret("")), profile)
        if config.storage_account not in ("", value.account):
            raise InvalidFieldError(
                "connection_string",
                f"its AccountName is not {config.storage_account}, the account that the connector names",
                "one account",
            )
        return replace(config, storage_account=value.account), value

    def encode(self, value: CredentialValue) -> Mapping[str, str]:
        """Returns the document that Vault keeps; see ports.AuthMethod."""
        return {"connection_string": write_connection_string(_own(value))}

    def decode(self, document: Mapping[str, Any]) -> CredentialValue:
        """Returns the value in a document of Vault's; see ports.AuthMethod."""
        return read_written(Secret(str(document["connection_string"])))

    def identity(self, connector: Connector) -> Identity:
        """Returns the account's key, without showing it."""
        return shared_key_identity(connector)

    def access(self, connector: Connector, credential: Credential, profile: CloudProfile, network: Network) -> Access:
        """Returns the way into the account; nothing is asked yet."""
        return SharedKeyAccess(connector, credential, profile, network, _own(credential.value).account_key)


def _own(value: CredentialValue) -> AccountAndKey:
    if not isinstance(value, AccountAndKey):
        raise TypeError("the credential of another auth method")
    return value
