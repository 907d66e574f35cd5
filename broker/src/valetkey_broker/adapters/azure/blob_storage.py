"""Blob Storage, by whatever opens it: listing containers, getting user delegation keys."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azure.core.pipeline.transport import AsyncHttpTransport
from azure.storage.blob import UserDelegationKey

from valetkey_broker.adapters.azure.container_pages import ListingTransport
from valetkey_broker.adapters.azure.error_advice import SHARED_KEY_OFF
from valetkey_broker.adapters.azure.errors import Asking, ask
from valetkey_broker.adapters.azure.sas import user_delegation_signer
from valetkey_broker.adapters.azure.token_trial import TokenTrial
from valetkey_broker.adapters.azure.transport import CLIENT_OPTIONS, Network
from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import CloudProfile, SigningKey, TokenUse, check_account, is_container_name

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobServiceClient

# What of a key is signed into a SAS or appears in it: one line of plain characters, no more.
_PLAIN = re.compile(r"[A-Za-z0-9:+/=_.-]{1,512}")
# What Azurite says of a signature that it cannot have made; Azure says AuthenticationFailed, and this where network
# rules refuse the broker, which then could not have got a key either.
_UNKNOWN_KEY = frozenset({"AuthorizationFailure"})
_KEY_FIELDS = (
    "signed_oid",
    "signed_tid",
    "signed_start",
    "signed_expiry",
    "signed_service",
    "signed_version",
    "value",
)


class BlobStorage:
    """The blob service of one account, for one credential, which is whatever Azure's storage clients take."""

    def __init__(self, profile: CloudProfile, network: Network, credential: Any, account: str, asking: Asking) -> None:
        self._profile = profile
        self._account = check_account("storage_account", account)
        self._asking = asking
        self._network = network
        self._credential = credential
        self._url = url = profile.blob_url(self._account)
        # Cheap to make, and its connections are the network's: there is nothing to keep or to close.
        self.client = _client(url, credential, network.transport(url))

    async def names(self) -> Sequence[str]:
        """Lists the containers of the account. Raises BrokerError."""

        async def listed() -> list[str]:
            transport = ListingTransport(self._network.transport(self._url))
            client = _client(self._url, self._credential, transport)
            async for _ in client.list_containers().by_page():
                pass  # The transport has read it.
            return transport.names

        found: list[str] = []
        async for some in slices(sorted(await ask(self._asking, listed)), in_background=True):
            found += filter(is_container_name, some)
        return found

    async def check(self, name: str) -> None:
        """Looks for the container `name` by asking for its properties. Raises BrokerError."""

        async def properties() -> None:
            await self.client.get_container_client(name).get_container_properties()

        await ask(self._asking, properties)

    async def check_credential(self) -> None:
        """Asks what kind of account this is, which whoever has its key may. Raises BrokerError."""
        await ask(self._asking, self.client.get_account_information)

    async def takes_token(self, name: str) -> bool:
        """Tells whether storage accepts the SAS that is the credential, by listing one blob. Raises BrokerError.

        A token that may not do that, or for a container that is gone, is accepted all the same.
        """

        async def first() -> None:
            async for _ in self.client.get_container_client(name).list_blobs(results_per_page=1):
                break

        try:
            await ask(self._asking, first)
        except BrokerError as error:
            if error.reason is Reason.CLOUD_CREDENTIAL_REJECTED or error.metadata.get("azure_code") in _UNKNOWN_KEY:
                return False
            if error.metadata.get("azure_code") == SHARED_KEY_OFF:
                raise
            if error.reason not in (Reason.CLOUD_PERMISSION_MISSING, Reason.RESOURCE_NOT_FOUND):
                raise
        return True

    async def hierarchical(self, container: str = "") -> bool | None:
        """Tells whether the account has a hierarchical namespace; None where it does not say. Raises BrokerError.

        A SAS for a container is good enough, if that container is asked.
        """

        async def information() -> Any:
            client = self.client.get_container_client(container) if container else self.client
            return await client.get_account_information()

        said = (await ask(self._asking, information)).get("is_hns_enabled")
        return said if isinstance(said, bool) else None

    async def delegation_key(self, starts: float, expires: float) -> SigningKey:
        """Gets a key good from `starts` to `expires` (Unix seconds). Raises BrokerError."""

        async def key() -> SigningKey:
            got = await self.client.get_user_delegation_key(
                datetime.fromtimestamp(int(starts), tz=UTC), datetime.fromtimestamp(int(expires), tz=UTC)
            )
            return _checked(self._account, got)

        return await ask(self._asking, key)

    async def use_token(self, name: str, use: TokenUse, what: str) -> None:
        """Does one thing with the SAS that is the credential, to the blob `what` of a container. Raises BrokerError."""
        await TokenTrial(self.client, self._asking, name, what).use(use)


def _client(url: str, credential: Any, transport: AsyncHttpTransport[Any, Any]) -> "BlobServiceClient":
    # Loaded late: see sdk_preload.py.
    from azure.storage.blob.aio import BlobServiceClient  # noqa: PLC0415

    return BlobServiceClient(url, credential=credential, transport=transport, **CLIENT_OPTIONS)


def _checked(account: str, key: UserDelegationKey) -> SigningKey:
    for name in _KEY_FIELDS:
        if not _PLAIN.fullmatch(getattr(key, name) or ""):
            raise ValueError(f"{name} of a user delegation key is not plain")
    return SigningKey(
        account=account,
        starts=datetime.fromisoformat(str(key.signed_start)).timestamp(),
        expires=datetime.fromisoformat(str(key.signed_expiry)).timestamp(),
        material=user_delegation_signer(account, key),
    )
