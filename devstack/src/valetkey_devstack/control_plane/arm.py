"""Azure Resource Manager, as far as storage accounts go: subscriptions, their accounts, and orders about one.

Source: https://learn.microsoft.com/rest/api/storagerp/storage-accounts/list
"""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

# What is answered for a planned failure without a body of its own.
PLANNED = {
    401: ("InvalidAuthenticationToken", "The access token is invalid."),
    403: ("AuthorizationFailed", "The client does not have authorization to perform the action."),
    429: ("TooManyRequests", "The request is being throttled."),
    503: ("ServerTimeout", "The request timed out."),
}


class ArmError(Exception):
    """An answer other than a result, in ARM's shape."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.code = code
        self.headers = headers or {}
        super().__init__(message)

    def body(self) -> dict[str, Any]:
        """Returns the JSON that ARM answers with."""
        return {"error": {"code": self.code, "message": str(self)}}


@dataclass(frozen=True, slots=True)
class StorageAccount:
    """A storage account and the resource group it lives in."""

    name: str
    resource_group: str
    kind: str = "StorageV2"


class Arm:
    """One subscription with storage accounts, listed in pages of `page_size`, and others that refuse."""

    def __init__(self, subscription_id: str, tenant_id: str) -> None:
        self.subscription_id = subscription_id
        self.tenant_id = tenant_id
        self.accounts: list[StorageAccount] = []
        self.page_size = 100
        # Beyond those that every account has, by account, in ARM's own words.
        self.properties: dict[str, dict[str, Any]] = {}
        # Subscriptions beside the own one, which are seen and refuse to be looked through.
        self.refusing: dict[str, ArmError] = {}

    def subscriptions(self) -> dict[str, Any]:
        """Returns the list of subscriptions."""
        shown = [self._subscription(each) for each in (self.subscription_id, *self.refusing)]
        return {"value": shown, "count": {"type": "Total", "value": len(shown)}}

    def _subscription(self, subscription_id: str) -> dict[str, Any]:
        return {
            "id": f"/subscriptions/{subscription_id}",
            "subscriptionId": subscription_id,
            "tenantId": self.tenant_id,
            "displayName": "Valet Key",
            "state": "Enabled",
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
        }

    def storage_accounts(self, request: web.Request, url: str) -> dict[str, Any]:
        """Returns one page of the storage accounts of a subscription or of a resource group in it."""
        subscription = request.match_info["subscription"]
        group = request.match_info.get("group")
        if (refusal := self.refusing.get(subscription.lower())) is not None:
            raise refusal
        if subscription.lower() != self.subscription_id:
            text = f"The subscription '{subscription}' could not be found."
            raise ArmError(404, "SubscriptionNotFound", text)
        # Resource group names do not tell upper from lower case.
        matching = [
            account for account in self.accounts if group is None or account.resource_group.lower() == group.lower()
        ]
        if group is not None and not matching:
            raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
        token = request.query.get("$skiptoken", "0")
        first = int(token) if token.isascii() and token.isdigit() else 0
        page: dict[str, Any] = {"value": [self._shape(account) for account in matching[first : first + self.page_size]]}
        if first + self.page_size < len(matching):
            query = {"api-version": request.query["api-version"], "$skiptoken": str(first + self.page_size)}
            page["nextLink"] = f"{url}{request.rel_url.with_query(query)}"
        return page

    def account(self, request: web.Request) -> str:
        """Returns the name of the account that a request is about. Raises ArmError where there is none."""
        subscription, group = request.match_info["subscription"], request.match_info["group"]
        name = request.match_info["account"]
        if (refusal := self.refusing.get(subscription.lower())) is not None:
            raise refusal
        if subscription.lower() != self.subscription_id:
            raise ArmError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")
        for account in self.accounts:
            if account.name == name and account.resource_group.lower() == group.lower():
                return name
        resource = f"Microsoft.Storage/storageAccounts/{name}"
        text = f"The Resource '{resource}' under resource group '{group}' was not found."
        raise ArmError(404, "ResourceNotFound", text)

    def _shape(self, account: StorageAccount) -> dict[str, Any]:
        return {
            "id": f"/subscriptions/{self.subscription_id}/resourceGroups/{account.resource_group}"
            f"/providers/Microsoft.Storage/storageAccounts/{account.name}",
            "name": account.name,
            "type": "Microsoft.Storage/storageAccounts",
            "location": "westeurope",
            "kind": account.kind,
            "sku": {"name": "Standard_LRS", "tier": "Standard"},
            "tags": {},
            "properties": {
                "provisioningState": "Succeeded",
                "supportsHttpsTrafficOnly": True,
                "isHnsEnabled": False,
                "primaryLocation": "westeurope",
                "primaryEndpoints": {"blob": f"https://{account.name}.blob.core.windows.net/"},
                **self.properties.get(account.name, {}),
            },
        }
