"""Asks the cloud for a stored connector, with its credential, each question bounded in time."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from valetkey_broker.connectors.connector_health import ConnectorHealth
from valetkey_broker.errors import cloud_timeout
from valetkey_broker.model import Connector, Container, Credential, SasRequest, SignedToken, SigningKey, TokenUse
from valetkey_broker.model.account_settings import AccountSettings
from valetkey_broker.ports import AccountSearch, Cloud

T = TypeVar("T")


class CloudClient:
    """What may be asked of the cloud. Every method raises BrokerError of ports.Cloud, or of reading the credential."""

    def __init__(
        self,
        cloud: Cloud,
        credential: Callable[[Connector], Awaitable[Credential]],
        timeout_seconds: float,
        health: ConnectorHealth | None = None,
    ) -> None:
        """`credential` gives the credential in use; `timeout_seconds` is for one question, credential included.

        `health` hears how the cloud takes that credential.
        """
        self._cloud = cloud
        self._credential = credential
        self._timeout = timeout_seconds
        self._health = health

    async def log_in(self, connector: Connector) -> None:
        """Proves the credential good."""
        await self._prove(connector, lambda credential: self._cloud.log_in(connector, credential))

    async def accounts(self, connector: Connector) -> AccountSearch:
        """Returns the connector's storage accounts."""
        asks = not connector.azure.storage_account  # One that is known needs no looking for.
        return await self._prove(
            connector, lambda credential: self._cloud.find_accounts(connector, credential), proves=asks
        )

    async def containers(self, connector: Connector, account: str) -> Sequence[Container]:
        """Returns the containers of one account, by name."""
        return await self._prove(
            connector, lambda credential: self._cloud.list_containers(connector, credential, account)
        )

    async def container(self, connector: Connector, account: str, name: str) -> Container:
        """Returns one container if it is there."""
        return await self._prove(
            connector, lambda credential: self._cloud.check_container(connector, credential, account, name)
        )

    async def signing_key(self, connector: Connector, account: str, *, starts: float, expires: float) -> SigningKey:
        """Returns a key that signs tokens for `account` from `starts` to `expires` (Unix seconds)."""
        return await self._prove(
            connector,
            lambda credential: self._cloud.signing_key(connector, credential, account, starts=starts, expires=expires),
            proves=self._health is not None and self._health.keys_prove(connector),
        )

    async def accepts(self, connector: Connector, container: Container, key: SigningKey) -> bool:
        """Tells whether storage accepts a token that `key` signs."""
        return await self._ask(connector, lambda _credential: self._cloud.accepts(connector, container, key))

    async def hierarchical(self, connector: Connector, container: Container, key: SigningKey) -> bool:
        """Tells whether the account of `container`, for which `key` signs, has a hierarchical namespace."""
        return await self._ask(
            connector, lambda credential: self._cloud.hierarchical(connector, credential, container, key)
        )

    async def use_token(
        self, connector: Connector, container: Container, token: SignedToken, use: TokenUse, blob: str
    ) -> None:
        """Does one thing with a token."""
        await self._ask(connector, lambda _credential: self._cloud.use_token(connector, container, token, use, blob))

    async def settings(self, connector: Connector, accounts: Collection[str]) -> Mapping[str, AccountSettings]:
        """Returns the settings of those of `accounts` that the cloud shows."""
        return await self._ask(
            connector, lambda credential: self._cloud.account_settings(connector, credential, accounts)
        )

    async def revoke_delegation_keys(self, connector: Connector, account: str) -> None:
        """Has the cloud revoke every user delegation key of `account`."""
        await self._ask(
            connector, lambda credential: self._cloud.revoke_delegation_keys(connector, credential, account)
        )

    def sign(self, request: SasRequest, lease_ids: Sequence[str]) -> Sequence[SignedToken]:
        """Returns a SAS for each of `lease_ids`."""
        return self._cloud.sign(request, lease_ids)

    def clock_skew(self, connector: Connector) -> float | None:
        """Returns how many seconds the broker's clock is ahead of the cloud's; None where nobody knows."""
        return self._cloud.clock_skew(connector)

    async def _prove(
        self, connector: Connector, question: Callable[[Credential], Awaitable[T]], *, proves: bool = True
    ) -> T:
        """Asks what only whoever has a good credential is told; `proves` says whether the cloud is asked at all."""
        asking = self._ask(connector, question)
        return await (asking if self._health is None else self._health.following(connector, asking, proves=proves))

    async def _ask(self, connector: Connector, question: Callable[[Credential], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await question(await self._credential(connector))
        except TimeoutError:
            raise cloud_timeout(connector.name, self._timeout) from None
