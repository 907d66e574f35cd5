"""What to do about a refusal, as those who run the broker can paste it into a shell."""

from valetkey_broker.adapters.azure.error_advice import NETWORK, SHARED_KEY_OFF, SUBSCRIPTION_CLOSED
from valetkey_broker.errors import Reason

_ROLES = {
    "ACCOUNTS": "Reader",
    "SETTINGS": "Reader",
    "ACCOUNT_KEYS": "Storage Account Key Operator Service Role",
    "REGENERATE_KEY": "Storage Account Key Operator Service Role",
    "REVOKE_KEYS": "Storage Account Contributor",
    "CONTAINERS": "Storage Blob Data Reader",
    "CONTAINER": "Storage Blob Data Reader",
    "PROBE": "Storage Blob Data Reader",
    "DELEGATION_KEY": "Storage Blob Delegator",
    "WRITE": "Storage Blob Data Contributor",
    "READ": "Storage Blob Data Contributor",
    "LIST": "Storage Blob Data Contributor",
    "DELETE": "Storage Blob Data Contributor",
}
_OF_GRAPH = frozenset({"APPLICATION", "ADD_TO_APPLICATION", "TAKE_FROM_APPLICATION"})
# Microsoft Graph, and its permission Application.ReadWrite.OwnedBy:
# https://learn.microsoft.com/graph/permissions-reference#applicationreadwriteownedby
_GRAPH, _OWNED_BY = "00000003-0000-0000-c000-000000000000", "18a4783c-866b-4cc7-a460-3d5e5662c884"
_ABOUT_CONTAINERS = frozenset({"CONTAINER", "PROBE", "WRITE", "READ", "LIST", "DELETE"})


def command(
    step: str, reason: Reason, code: str, *, assignee: str, account: str, container: str, place: str, shared_key: bool
) -> str:
    """Returns the command that mends a refusal of `step`; empty where there is none.

    `assignee` is the client id of who was refused, `place` the subscription or resource group that was looked through.
    """
    if reason is not Reason.CLOUD_PERMISSION_MISSING:
        return ""
    if step in _OF_GRAPH:
        return _may_make_secrets(assignee) if assignee else ""
    if code == SHARED_KEY_OFF:
        return f"az storage account update --name {account} --allow-shared-key-access true"
    if code in NETWORK and step != "ACCOUNTS":
        return f"az storage account network-rule add --account-name {account} --ip-address ADDRESS_OF_THE_BROKER"
    if shared_key or step not in _ROLES or code in ("AccountIsDisabled", SUBSCRIPTION_CLOSED):
        return ""
    scope = _account_scope(account) if account else place
    if container and step in _ABOUT_CONTAINERS:
        # Of $web and its like, a shell would make nothing.
        scope += "/blobServices/default/containers/" + container.replace("$", "\\$")
    who = assignee or "CLIENT_ID_OF_THE_IDENTITY"
    return f'az role assignment create --assignee {who} --role "{_ROLES[step]}" --scope "{scope}"'


def _may_make_secrets(application: str) -> str:
    own = f"$(az ad sp show --id {application} --query id --output tsv)"
    return (
        f"az ad app permission add --id {application} --api {_GRAPH} --api-permissions {_OWNED_BY}=Role\n"
        f"az ad app permission admin-consent --id {application}\n"
        f'az ad app owner add --id {application} --owner-object-id "{own}"'
    )


def _account_scope(account: str) -> str:
    # Its id has the subscription and the resource group in it, which az knows and the broker need not.
    return f"$(az storage account show --name {account} --query id --output tsv)"
