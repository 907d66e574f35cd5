"""The keys of storage accounts, as Azure Resource Manager lists and regenerates them.

Source: https://learn.microsoft.com/rest/api/storagerp/storage-accounts/regenerate-key
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from valetkey_broker.model import Secret
from valetkey_devstack.control_plane.arm import Arm, ArmError

_RIGHTS = "Microsoft.Storage/storageAccounts/{}/action"


class AccountKeys(Protocol):
    """Whoever has the keys by which storage checks what it is asked."""

    def keys(self, account: str) -> Mapping[str, Secret]:
        """Returns the keys of an account by name. Raises LookupError where there is no such account."""
        ...

    async def regenerate(self, account: str, name: str) -> None:
        """Replaces the key of that name; returns once the old one is refused. Raises LookupError for other names."""
        ...


class ArmKeys:
    """Keys of the accounts of `arm`. `allowed` are the actions that the service principal has a role for."""

    def __init__(self, arm: Arm, clock: Callable[[], float]) -> None:
        self._arm = arm
        self._clock = clock
        self._made: dict[tuple[str, str], float] = {}
        self.holder: AccountKeys | None = None
        self.allowed = {"listKeys", "regenerateKey"}

    def listed(self, place: Mapping[str, str]) -> dict[str, Any]:
        """Returns the keys of the account at `place`: subscription, group, account."""
        account = self._admit(place, "listKeys")
        return self._shape(account)

    async def regenerate(self, place: Mapping[str, str], body: Any) -> dict[str, Any]:
        """Replaces one key and returns both."""
        account = self._admit(place, "regenerateKey")
        name = str(body.get("keyName")) if isinstance(body, dict) else ""
        holder = self._holder()
        if name not in holder.keys(account):
            text = f"The value '{name}' of keyName is invalid. Expected key1, key2, kerb1 or kerb2."
            raise ArmError(400, "InvalidValuesForRequestParameters", text)
        await holder.regenerate(account, name)
        self._made[account, name] = self._clock()
        return self._shape(account)

    def _admit(self, place: Mapping[str, str], action: str) -> str:
        subscription, group, account = place["subscription"], place["group"], place["account"]
        if subscription.lower() != self._arm.subscription_id:
            raise ArmError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")
        if action not in self.allowed:
            text = f"The client does not have authorization to perform action '{_RIGHTS.format(action)}'."
            raise ArmError(403, "AuthorizationFailed", text)
        for each in self._arm.accounts:
            if (each.name, each.resource_group.lower()) == (account.lower(), group.lower()):
                return each.name
        text = (
            f"The Resource 'Microsoft.Storage/storageAccounts/{account}' under resource group '{group}' was not found."
        )
        raise ArmError(404, "ResourceNotFound", text)

    def _holder(self) -> AccountKeys:
        if self.holder is None:
            raise ArmError(503, "ServerTimeout", "This stand-in was given no storage whose keys it could tell.")
        return self.holder

    def _shape(self, account: str) -> dict[str, Any]:
        keys = self._holder().keys(account)
        return {
            "keys": [
                {
                    "keyName": name,
                    "value": key.reveal(),
                    "permissions": "FULL",
                    "creationTime": datetime.fromtimestamp(self._made.get((account, name), 0.0), UTC).isoformat(),
                }
                for name, key in keys.items()
            ]
        }
