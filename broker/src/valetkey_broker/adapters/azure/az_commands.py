"""What to do about a refusal, as those who run the broker can paste it into a shell."""

from valetkey_broker.adapters.azure.error_advice import NETWORK, SHARED_KEY_OFF, SUBSCRIPTION_CLOSED
from valetkey_broker.errors import Reason

_ROLES = {
    "ACCOUNTS": "Reader",
    "SETTINGS": "Reader",
    "CONTAINERS": "Storage Blob Data Reader",
    "CONTAINER": "Storage Blob Data Reader",
    "PROBE": "Storage Blob Data Reader",
    "DELEGATION_KEY": "Storage Blob Delegator",
    "WRITE": "Storage Blob Data Contributor",
    "READ": "Storage Blob Data Contributor",
    "LIST": "Storage Blob Data Contributor",
    "DELETE": "Storage Blob Data Contributor",
}
_ABOUT_CONTAINERS = frozenset({"CONTAINER", "PROBE", "WRITE", "READ", "LIST", "DELETE"})


def command(
    step: str, reason: Reason, code: str, *, assignee: str, account: str, container: str, place: str, shared_key: bool
) -> str:
    """Returns the command that mends a refusal of `step`; empty where there is none.

    `assignee` is the client id of who was refused, `place` the subscription or resource group that was looked through.
    """
    if reason is not Reason.CLOUD_PERMISSION_MISSING:
        return ""
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


def _account_scope(account: str) -> str:
    # Its id has the subscription and the resource group in it, which az knows and the broker need not.
    return f"$(az storage account show --name {account} --query id --output tsv)"
