"""The words of the API as choices of options. A test holds them against the API's enums."""

from enum import StrEnum


class ConnectorType(StrEnum):
    """Kind of cloud."""

    AZURE = "azure"


class ResourceType(StrEnum):
    """What a connector gives access to."""

    BLOB_CONTAINER = "blob-container"


class Role(StrEnum):
    """What people and their tools may call."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    AUDITOR = "auditor"


class ConsumerRole(StrEnum):
    """Ready-made permissions of the consumers in a machine-learning stack."""

    ORCHESTRATOR = "orchestrator"
    STEP_OPERATOR = "step-operator"
    DEPLOYER = "deployer"
    ORCHESTRATOR_WITH_DELETE = "orchestrator-with-delete"
    STEP_OPERATOR_WITH_DELETE = "step-operator-with-delete"


class EventKind(StrEnum):
    """What the ledger records."""

    TOKEN_ISSUED = "token-issued"  # noqa: S105 (a kind of event)
    DENIED = "denied"
    AUTHENTICATION_FAILED = "authentication-failed"
    ADMIN_CHANGE = "admin-change"
    PRUNED = "pruned"
    CHANGE_BEGUN = "change-begun"
    CHANGE_FAILED = "change-failed"
    UNKNOWN = "unknown"
    CHANGE_RECONCILED = "change-reconciled"
    ROTATION = "rotation"
    KEYS_REVOKED = "keys-revoked"
    REVOCATION_PROVED = "revocation-proved"


# Why a token lives shorter than was asked for, by the API's words; a newer broker's unknown one shows as itself.
TTL_LIMITS = {
    "grant-max-ttl": "the grant allows no longer life",
    "grant-end": "the grant ends then",
    "identity-end": "the identity ends then",
    "key-end": "the key that signs it ends then",
}
