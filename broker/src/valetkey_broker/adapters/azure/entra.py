"""Logging in to Entra, whatever it is that proves who logs in."""

import asyncio
from types import TracebackType
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential

from valetkey_broker.adapters.azure.auth_method import SigningStorage
from valetkey_broker.adapters.azure.error_advice import Identity
from valetkey_broker.adapters.azure.errors import Asking, Step, ask
from valetkey_broker.adapters.azure.transport import CLIENT_OPTIONS, Network
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import CloudProfile, Connector, Credential, SigningKey

# All clouds share it: https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory
# After a rotation Entra's servers learn of a new secret or certificate one by one: one that knows it not yet is no last
# word on it.
_NOT_EVERYWHERE_YET = frozenset({"AADSTS7000215", "AADSTS7000216", "AADSTS700027"})
_TRIES = 3
_TRY_AGAIN_SECONDS = 1.0
STORAGE_SCOPE = "https://storage.azure.com/.default"


def arm_scope(profile: CloudProfile) -> str:
    """Returns the scope of Azure Resource Manager in `profile`."""
    return f"{profile.arm_endpoint}/.default"


def entra_options(profile: CloudProfile, network: Network) -> dict[str, Any]:
    """Returns what every credential of azure-identity is made with, so that it asks the profile's authority only."""
    return {
        "authority": profile.authority,
        # The authority is the operator's; whether Microsoft's directory of clouds knows it does not matter.
        "disable_instance_discovery": True,
        "transport": network.transport(profile.authority, busy_raises=True),
        **CLIENT_OPTIONS,
    }


class EntraAccess:
    """The way into Azure by tokens of Entra (see auth_method.Access), as Azure's clients want a credential.

    Tokens stay in memory and are renewed in time. Only tokens for storage, ARM and Graph are got: a storage endpoint
    may ask for another audience in its challenge, and does not get it.
    """

    def __init__(
        self,
        connector: Connector,
        credential: Credential,
        profile: CloudProfile,
        client: AsyncTokenCredential,
        identity: Identity,
        step: Step = Step.LOG_IN,
    ) -> None:
        """`client` asks Entra, or whoever else gives out its tokens; see `entra_options`."""
        self._made_for = (connector.auth_method, connector.azure, credential.value)
        self._asking = Asking(step, connector.name, identity)
        self._scopes = {STORAGE_SCOPE, arm_scope(profile), f"{profile.graph_endpoint}/.default"}
        # One at a time: many calls at once with no token yet ask Entra once.
        self._lock = asyncio.Lock()
        self._client = client
        # A stored credential was proved once.
        self._tries = _TRIES if credential.version else 1

    @property
    def storage_credential(self) -> Self:
        """Itself: it gives out tokens."""
        return self

    @property
    def arm_credential(self) -> Self:
        """Itself: it gives out tokens."""
        return self

    def serves(self, connector: Connector, credential: Credential) -> bool:
        """Tells whether this log-in was made for just that configuration and credential."""
        return self._made_for == (connector.auth_method, connector.azure, credential.value)

    async def prove(self) -> None:
        """Gets a token for storage. Raises BrokerError."""
        async with self._lock:
            await ask(self._asking, lambda: self._client.get_token(STORAGE_SCOPE))

    async def signing_key(self, storage: SigningStorage, starts: float, expires: float) -> SigningKey:
        """Gets a user delegation key. Raises BrokerError."""
        return await storage.delegation_key(starts, expires)

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **_options: Any,
    ) -> AccessToken:
        """Returns a token from memory or from Entra. Raises BrokerError.

        The tenant is the connector's, whatever a challenge says.
        """
        _ = tenant_id
        if not self._scopes.issuperset(scopes):
            text = "A storage endpoint asked for a token for another service, which was refused."
            raise self._asking.failed(Reason.CLOUD_UNAVAILABLE, text)
        async with self._lock:
            for left in range(self._tries - 1, -1, -1):
                try:
                    return await ask(
                        self._asking,
                        lambda: self._client.get_token(*scopes, claims=claims, enable_cae=enable_cae),
                    )
                except BrokerError as error:
                    if not left or error.metadata.get("azure_code") not in _NOT_EVERYWHERE_YET:
                        raise
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
        raise AssertionError  # pragma: no cover (the last round returns or raises)

    async def close(self) -> None:
        """Does nothing: the connections are the network's."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None = None,
        _value: BaseException | None = None,
        _traceback: TracebackType | None = None,
    ) -> None:
        return None
