"""Auth method `account-key`: one of the two keys of a storage account."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from valetkey_broker.adapters.azure.auth_method import Access
from valetkey_broker.adapters.azure.error_advice import Identity
from valetkey_broker.adapters.azure.shared_key import (
    SharedKeyAccess,
    check_account_key,
    check_nothing_else,
    shared_key_identity,
)
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


@dataclass(frozen=True, slots=True)
class AccountKey(CredentialValue):
    """A key of the connector's storage account."""

    account_key: Secret = field(repr=False)


class AccountKeyMethod:
    """See ports.AuthMethod and adapters.azure.auth_method.AzureAuthMethod."""

    name = "account-key"
    title = "Account key"
    help = (
        "One of the two keys of a storage account. It gives access to the whole account and never expires. The broker "
        "signs service SAS tokens with it; a leaked token can only be ended early by regenerating the key. For "
        "accounts that allow shared key access, if you cannot use a service principal."
    )
    fetches_keys = False
    fields: Sequence[CredentialField] = (
        CredentialField(
            "storage_account",
            secret=False,
            required=True,
            help="Storage account that the key is of.",
            example="demomlstorage",
        ),
        CredentialField(
            "account_key",
            secret=True,
            required=True,
            help="The value of key1 or key2 of the account, 88 characters.",
            example="@key.txt",
        ),
    )

    def parse(
        self, config: AzureConfig, secrets: Mapping[str, Secret], profile: CloudProfile
    ) -> tuple[AzureConfig, CredentialValue]:
        """Returns what an operator gave, checked; see ports.AuthMethod."""
        _ = profile
        check_nothing_else(self.name, config)
        if not config.storage_account:
            raise InvalidFieldError("storage_account", "is not given", "the account that the key is of")
        return config, AccountKey(check_account_key("account_key", secrets.get("account_key", Secret(""))))

    def encode(self, value: CredentialValue) -> Mapping[str, str]:
        """Returns the document that Vault keeps; see ports.AuthMethod."""
        return {"account_key": _own(value).account_key.reveal()}

    def decode(self, document: Mapping[str, Any]) -> CredentialValue:
        """Returns the value in a document of Vault's; see ports.AuthMethod."""
        return AccountKey(check_account_key("account_key", Secret(str(document["account_key"]))))

    def identity(self, connector: Connector) -> Identity:
        """Returns the account's key, without showing it."""
        return shared_key_identity(connector)

    def access(self, connector: Connector, credential: Credential, profile: CloudProfile, network: Network) -> Access:
        """Returns the way into the account; nothing is asked yet."""
        return SharedKeyAccess(connector, credential, profile, network, _own(credential.value).account_key)


def _own(value: CredentialValue) -> AccountKey:
    if not isinstance(value, AccountKey):
        raise TypeError("the credential of another auth method")
    return value
