"""What an error of the broker consists of: a reason for programs, a message for people; causes stay inside."""

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from valetkey_broker.model import Check

EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h
"""With what a process ends that a ConfigurationError ends: starting it again would not help."""


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
    CLOUD_REQUEST_REFUSED = auto()
    SECRET_NOT_FOUND = auto()
    SECRET_EXISTS = auto()
    SECRET_IN_USE = auto()
    ROTATION_UNDER_WAY = auto()
    ROTATION_NOT_FOUND = auto()
    NO_PREVIOUS_CREDENTIAL = auto()
    ACCESS_REVOKED = auto()
    REVOCATION_NOT_FOUND = auto()


# What callers are told who do not run the broker: its store, its settings and its credentials are none of their
# business, and what to mend there is nothing they could do.
_PUBLIC_MESSAGES: Mapping[Reason, str] = {
    Reason.VAULT_UNAVAILABLE: "the broker cannot reach its own store right now; try again",
    Reason.CLOUD_CREDENTIAL_REJECTED: "Azure refuses the connector's credential; tell those who run the broker",
    Reason.CLOUD_REQUEST_REFUSED: "Azure refuses what the connector asks for; tell those who run the broker",
    Reason.CLOUD_PERMISSION_MISSING: (
        "the connector's credential lacks a permission at Azure; tell those who run the broker"
    ),
}
_PUBLIC_METADATA = ("account", "connector", "resource")


class BrokerError(Exception):
    """An error whose message and metadata may travel to callers; neither ever holds a secret.

    `message` and `metadata` are for those who run the broker: its log, and callers with the role admin or operator.
    Everybody else is told `public()`. For some reasons that differs by itself (Vault, credentials in the cloud);
    where a message of another reason names a setting, or a remedy that only an operator has, `public_message` says
    what to tell callers instead. `mend` is what those who run the broker can do about it, where that is more than fits
    the sentence: a command to paste, say. `checks` are the lines of a verification that failed, for the same people.
    `retry_after` is in seconds. Chain the cause with `from`: it reaches the log by its type only.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        metadata: Mapping[str, str] | None = None,
        *,
        retry_after: float | None = None,
        public_message: str | None = None,
        mend: str = "",
    ) -> None:
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.public_message = _PUBLIC_MESSAGES.get(reason) if public_message is None else public_message
        self.mend = mend
        self.checks: Sequence[Check] = ()
        super().__init__(message)

    def reworded(self, message: str) -> "BrokerError":
        """Returns the same error with another message for those who run the broker."""
        return self._copy(message, self.retry_after)

    def public(self) -> "BrokerError":
        """Returns the error as callers without a role in running the broker are told it: reason and delay stay."""
        if self.public_message is None:
            return self
        metadata = {name: value for name, value in self.metadata.items() if name in _PUBLIC_METADATA}
        return BrokerError(self.reason, self.public_message, metadata, retry_after=self.retry_after)

    def again_in(self, seconds: float | None) -> "BrokerError":
        """Returns the same error for somebody else, with another delay."""
        return self._copy(self.message, seconds)

    def _copy(self, message: str, retry_after: float | None) -> "BrokerError":
        error = BrokerError(
            self.reason,
            message,
            self.metadata,
            retry_after=retry_after,
            public_message=self.public_message,
            mend=self.mend,
        )
        error.checks = self.checks
        return error


class ConfigurationError(Exception):
    """The settings, a file or the environment make a start impossible; the text tells the operator what to do."""
