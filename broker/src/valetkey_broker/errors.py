"""The broker's own errors: a reason for programs, a message for people; causes stay inside."""

from collections.abc import Mapping
from enum import Enum, auto


class Reason(Enum):
    """Why a call failed; the names are those of `valetkey.v1.ErrorReason` without its prefix."""

    CREDENTIALS_MISSING = auto()
    CREDENTIALS_INVALID = auto()
    CREDENTIALS_EXPIRED = auto()
    ROLE_REQUIRED = auto()
    RESOURCE_DENIED = auto()
    INVALID_FIELD = auto()
    RESOURCE_AMBIGUOUS = auto()
    CONNECTOR_NOT_FOUND = auto()
    CONNECTOR_EXISTS = auto()
    API_KEY_NOT_FOUND = auto()
    API_KEY_EXISTS = auto()
    CONFLICT = auto()
    CLOUD_CREDENTIAL_REJECTED = auto()
    CLOUD_PERMISSION_MISSING = auto()
    RESOURCE_NOT_FOUND = auto()
    CLOUD_THROTTLED = auto()
    CLOUD_UNAVAILABLE = auto()
    VAULT_UNAVAILABLE = auto()
    SCOPE_UNSUPPORTED = auto()
    NOT_SERVING = auto()
    METHOD_UNKNOWN = auto()
    DEADLINE_EXCEEDED = auto()
    GRANT_NOT_FOUND = auto()
    GRANT_EXISTS = auto()
    RATE_LIMITED = auto()
    LEDGER_UNAVAILABLE = auto()
    ISSUER_UNAVAILABLE = auto()


class BrokerError(Exception):
    """An error whose message and metadata may travel to the caller; neither ever holds a secret.

    `retry_after` is in seconds. Chain the cause with `from`: it reaches the log by its type only.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        metadata: Mapping[str, str] | None = None,
        *,
        retry_after: float | None = None,
    ) -> None:
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        super().__init__(message)


class ConfigurationError(Exception):
    """The settings, a file or the environment make a start impossible; the text tells the operator what to do."""
