"""The way into one storage account by one of its own keys: Shared Key requests, and service SAS."""

import base64
import binascii
import math

from azure.core.credentials import AzureNamedKeyCredential

from valetkey_broker.adapters.azure.auth_method import SigningStorage
from valetkey_broker.adapters.azure.blob_storage import BlobStorage
from valetkey_broker.adapters.azure.error_advice import Identity
from valetkey_broker.adapters.azure.errors import Asking, Step
from valetkey_broker.adapters.azure.sas import account_key_signer
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.model import (
    AzureConfig,
    CloudProfile,
    Connector,
    Credential,
    InvalidFieldError,
    Secret,
    SigningKey,
)

_KEY_BYTES = 64


def check_account_key(field: str, key: Secret) -> Secret:
    """Returns `key` if it can be an account's: base64 of 64 bytes, as Azure writes it. Errors show nothing of it."""
    text = key.reveal()
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        problem = f"is no base64 ({len(text)} characters)" if text else "is not given"
    else:
        if len(decoded) == _KEY_BYTES and base64.b64encode(decoded) == text.encode("ascii"):
            return key
        problem = f"is base64 of {len(decoded)} bytes" if text else "is not given"
    raise InvalidFieldError(
        field, problem, "the value of key1 or key2 of the storage account: 88 characters, base64 of 64 bytes"
    )


def check_nothing_else(auth_method: str, config: AzureConfig) -> None:
    """Makes sure that `config` names nothing that only a log-in to Entra could use. Raises InvalidFieldError."""
    for name in ("tenant_id", "client_id", "subscription_id", "resource_group", "implicit_source"):
        if getattr(config, name):
            raise InvalidFieldError(name, f"is of no use to the auth method {auth_method}", "it left out")


def shared_key_identity(connector: Connector) -> Identity:
    """Returns who a connector with an account's key is to Azure: the account itself."""
    return Identity(f"the key of storage account {connector.azure.storage_account}", shared_key=True)


class SharedKeyAccess:
    """The way into the connector's account by its key (see auth_method.Access). Resource Manager knows no such keys."""

    arm_credential = None

    def __init__(
        self, connector: Connector, credential: Credential, profile: CloudProfile, network: Network, key: Secret
    ) -> None:
        """`key` is the one in `credential`."""
        self._account = connector.azure.storage_account
        self._key = key
        self._made_for = (connector.auth_method, connector.azure, credential.value)
        self.storage_credential = AzureNamedKeyCredential(self._account, key.reveal())
        asking = Asking(
            Step.ACCOUNT_KEY,
            connector.name,
            shared_key_identity(connector),
            self._account,
            emulator=profile.emulator,
        )
        self._storage = BlobStorage(profile, network, self.storage_credential, self._account, asking)

    def serves(self, connector: Connector, credential: Credential) -> bool:
        """Tells whether this way was made for just that configuration and credential."""
        return self._made_for == (connector.auth_method, connector.azure, credential.value)

    async def prove(self) -> None:
        """Has storage accept a request that the key signed. Raises BrokerError."""
        await self._storage.check_credential()

    async def signing_key(self, storage: SigningStorage, starts: float, expires: float) -> SigningKey:
        """Returns the account's key itself, at once: it was good before and stays so until somebody replaces it."""
        _ = storage, starts, expires
        return SigningKey(self._account, 0.0, math.inf, account_key_signer(self._account, self._key))
