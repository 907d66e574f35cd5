"""What people should do about Azure's codes, in our words.

Sources: https://learn.microsoft.com/entra/identity-platform/reference-error-codes and
https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connector is to Azure: `name` as errors say it. With `shared_key` it has an account's key, and no roles."""

    name: str
    shared_key: bool = False


_FEDERATION = (
    "the application trusts no such token. Compare issuer, subject and audience of its federated credential with those "
    "of the broker's service account."
)
_LOG_IN = {
    "AADSTS7000215": (
        "invalid client secret. Check that you pasted the secret's value, not its id; one that was just made may need "
        "a minute to work."
    ),
    "AADSTS7000222": "the client secret has expired. Make a new one in Entra and give it to the connector.",
    "AADSTS7000216": "no client secret was sent. Give the connector one.",
    "AADSTS700027": (
        "the client certificate is not one of the application's. Upload it to the application in Entra; one that was "
        "just uploaded may need a minute to work."
    ),
    "AADSTS1000502": "the client certificate has expired. Make a new one, and give it to Entra and the connector.",
    "AADSTS700024": "the client assertion is not valid now. Check the broker's clock.",
    "AADSTS700211": _FEDERATION,
    "AADSTS700212": _FEDERATION,
    "AADSTS700213": _FEDERATION,
    "AADSTS70021": _FEDERATION,
    "AADSTS700016": "no such application in this tenant. Check the client id and the tenant id.",
    "AADSTS7000229": "the application has no service principal in this tenant. Have it consented to there.",
    "AADSTS7000112": "the application is disabled. Have it enabled in Entra.",
    "AADSTS90002": "no such tenant. Check the tenant id, and that it lives in the connector's cloud.",
    "AADSTS900023": "this is not a tenant id. Check the tenant id.",
    "AADSTS70011": "the scope is not valid. Check arm_endpoint of the cloud profile.",
    "AADSTS1002012": "the scope is not valid. Check arm_endpoint of the cloud profile.",
    "AADSTS500011": "the tenant does not know the service asked for. Check arm_endpoint of the cloud profile.",
    "AADSTS53003": "a Conditional Access policy blocks it. Let the policy admit the broker's addresses.",
}
_OF_GRAPH = frozenset({"APPLICATION", "ADD_TO_APPLICATION", "TAKE_FROM_APPLICATION"})
_ROLES = {
    "ACCOUNT_KEYS": '"Storage Account Key Operator Service Role" at the storage account',
    "REGENERATE_KEY": '"Storage Account Key Operator Service Role" at the storage account',
    "ACCOUNTS": '"Reader" at the subscription or resource group, or name a storage account in the connector',
    "CONTAINERS": '"Storage Blob Data Reader" (or Contributor) at the account',
    "CONTAINER": '"Storage Blob Data Reader" (or Contributor) at the container',
    "ACCOUNT": '"Storage Blob Data Reader" (or Contributor) at the container',
    "PROBE": '"Storage Blob Data Reader" (or Contributor) at the container',
    "SETTINGS": '"Reader" at the storage account',
    "REVOKE_KEYS": (
        '"Storage Account Contributor" at the account, or better one of its own with no more than the actions '
        "Microsoft.Storage/storageAccounts/read and Microsoft.Storage/storageAccounts/revokeUserDelegationKeys/action,"
    ),
    "WRITE": '"Storage Blob Data Contributor" at the container',
    "READ": '"Storage Blob Data Contributor" at the container',
    "LIST": '"Storage Blob Data Contributor" at the container',
    "DELETE": '"Storage Blob Data Contributor" at the container',
    "OUTSIDE": "that it needs",
    "DELEGATION_KEY": (
        '"Storage Blob Delegator" at the account (and "Storage Blob Data Contributor" on the containers '
        "that tokens are for)"
    ),
}
SHARED_KEY_OFF = "KeyBasedAuthenticationNotPermitted"
"""What storage says of keys, and of tokens signed with them, where the account does not allow shared key access."""
SUBSCRIPTION_CLOSED = "DisallowedOperation"
"""What Azure Resource Manager says of subscriptions that may not have any resources, whoever asks."""
NETWORK = frozenset({"AuthorizationFailure", "IpAuthorizationFailure", "PublicAccessNotPermitted"})
"""What storage says where its network rules refuse an address."""


def log_in_refused(identity: Identity, code: str) -> str:
    """Returns the message for a log-in that Entra refused with `code` ("" where it gave none)."""
    known = _LOG_IN.get(code)
    said = f"{code} {known}" if known else f"{code or 'no code given'}. Look it up in Entra's error codes."
    return f"Entra refused the log-in of {identity.name}: {said}"


def managed_identity_refused(identity: Identity, code: str) -> str:
    """Returns the message for a managed identity that gets no token (`code` is Entra's, "" where it was not asked)."""
    if code:
        why = f"{code} {_LOG_IN.get(code, 'Look it up in the error codes of Entra.')}"
    else:
        why = (
            "where the broker runs, it is not assigned. Assign it there (az vm identity assign, az webapp identity "
            "assign), or correct the connector's client id."
        )
    return f"There is no token of {identity.name}: {why}"


def not_accepted(identity: Identity) -> str:
    """Returns what to do where storage does not accept what proves `identity`, as the end of a sentence."""
    if identity.shared_key:
        return (
            "the account key was not accepted. Check that it is the value of key1 or key2 (not of kerb1 or kerb2) of "
            "this account, that it was not regenerated since, and the broker's clock."
        )
    return (
        f"the token of {identity.name} was not accepted. Check that the account belongs to the connector's tenant and "
        "cloud."
    )


def not_allowed(step: str, code: str, identity: Identity) -> str:  # noqa: PLR0911 (a table in words)
    """Returns what to do where `identity` was refused though it is who it says, as the end of a sentence."""
    if step != "ACCOUNTS" and code in NETWORK:
        return "the account's network rules refuse the broker. Let them admit the broker's addresses."
    if code == SUBSCRIPTION_CLOSED:
        return (
            "Azure does not let this kind of subscription be used for that. Name another subscription, or a storage "
            "account, in the connector."
        )
    if code == "AccountIsDisabled":
        return "the account is disabled."
    if code == SHARED_KEY_OFF:
        return (
            "the account does not allow shared key access, which this connector needs. Allow it (az storage account "
            "update --allow-shared-key-access true), or register a service principal, which needs no account key."
        )
    if identity.shared_key:
        return "an account key may do everything, so what refuses it is a setting of the account. Look the code up."
    if step in _OF_GRAPH:
        return (
            f"grant the permission Application.ReadWrite.OwnedBy of Microsoft Graph to {identity.name}, with an "
            "admin's consent, and make it an owner of the application. Application.ReadWrite.All is not needed. What "
            "was granted just now may take some minutes to work."
        )
    return f"assign the role {_ROLES[step]} to {identity.name}. A new assignment may take some minutes to work."
