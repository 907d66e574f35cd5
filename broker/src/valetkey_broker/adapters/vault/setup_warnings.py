"""Says in the log, when the broker starts, what will go wrong later with the policy or the engine."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from valetkey_broker.adapters.vault.blocking_calls import Calls
from valetkey_broker.adapters.vault.broker_policy import lacking, needed
from valetkey_broker.adapters.vault.errors import DENIED
from valetkey_broker.errors import BrokerError

_SELF = "sys/capabilities-self"


class Client(Protocol):
    """The calls that are needed here; see VaultClient."""

    def capabilities(self, paths: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Returns what the token in use may do at `paths`."""
        ...

    def deletes_after(self) -> str:
        """Returns the age at which the engine deletes versions; "" where it never does."""
        ...


class Fitness:
    """Looks whether Vault lets the broker do its work; what was found is said once, until it changes."""

    def __init__(self, client: Client, calls: Calls, mount: str) -> None:
        self._client = client
        self._calls = calls
        self._mount = mount
        self._said: tuple[Mapping[str, str], str] = ({}, "")
        self._log = structlog.get_logger()

    async def look(self) -> None:
        """Never raises: what is wrong with the calls themselves is met, and told, where they are needed."""
        try:
            found = await self._missing(), await self._age()
        except BrokerError:
            return
        if found == self._said:
            return
        self._said = missing, age = found
        if missing:
            self._log.error(
                "the broker's policy in Vault lacks what it needs; write it again, as docs/vault.md says",
                mount=self._mount,
                missing=missing,
            )
        if age:
            deletes_versions(path=self._mount, after=age)

    async def _missing(self) -> Mapping[str, str]:
        paths = list(needed(self._mount))
        try:
            granted = await self._calls.run("looking at the policy", self._client.capabilities, paths)
        except BrokerError as error:
            if error.metadata["cause"] != DENIED:
                raise
            return {_SELF: "update"}  # What else is missing cannot be told.
        return lacking(self._mount, granted)

    async def _age(self) -> str:
        try:
            return await self._calls.run("looking at the engine", self._client.deletes_after)
        except BrokerError as error:
            if error.metadata["cause"] != DENIED:
                raise
            return ""  # That the policy lacks this is found above.


def deletes_versions(**where: str) -> None:
    """Logs that Vault will delete behind the broker's back what it keeps there."""
    structlog.get_logger().error(
        "Vault deletes versions by their age, credentials in use too; set delete_version_after to 0s there", **where
    )
