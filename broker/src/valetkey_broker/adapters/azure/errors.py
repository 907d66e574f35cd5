"""What Azure's libraries raise, as BrokerError. Azure's own text may echo what was sent: only its codes go on."""

import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import TypeVar

import aiohttp
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceRequestTimeoutError

from valetkey_broker.adapters.azure.az_commands import command
from valetkey_broker.adapters.azure.error_advice import (
    Identity,
    log_in_refused,
    managed_identity_refused,
    not_accepted,
    not_allowed,
)
from valetkey_broker.adapters.azure.error_classification import outcome
from valetkey_broker.adapters.azure.library_errors import LIBRARY_ERRORS
from valetkey_broker.adapters.azure.retry_after import retry_after_of
from valetkey_broker.adapters.azure.transport import EndlessListError
from valetkey_broker.errors import BrokerError, Reason, cloud_error

T = TypeVar("T")

_AADSTS = re.compile(r"\bAADSTS([0-9]{4,8})\b")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_OAUTH_REFUSALS = ("invalid_client", "unauthorized_client", "invalid_request", "invalid_scope", "access_denied")
# Entra's codes for "later": https://learn.microsoft.com/entra/identity-platform/reference-error-codes
_THROTTLED = frozenset({"AADSTS90055", "AADSTS50196"})
_TRANSIENT = frozenset({"AADSTS90033", "AADSTS90006", "AADSTS90024", "AADSTS50196", "AADSTS90055"})
# What a machine's endpoint says while its identities are being set up:
# https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling
_IDENTITIES_CHANGE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
# Source: getaddrinfo(3); EAI_NODATA, which POSIX no longer has, is what glibc says of a name without addresses.
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class Step(Enum):
    """What the broker was about, as people read it."""

    LOG_IN = "log in to Entra"
    MANAGED_IDENTITY = "get a token of the managed identity"
    ACCOUNTS = "list storage accounts"
    CONTAINERS = "list containers"
    CONTAINER = "look at the container"
    DELEGATION_KEY = "get a user delegation key"
    PROBE = "use a token"
    ACCOUNT_KEY = "use the account key"
    ACCOUNT = "look at the storage account"
    SETTINGS = "look at the settings of storage accounts"
    REVOKE_KEYS = "revoke user delegation keys"
    WRITE = "write a blob"
    READ = "read it back"
    LIST = "list it"
    DELETE = "delete it"
    OUTSIDE = "list what the token is not for"
    APPLICATION = "look at the application's secrets"
    ADD_TO_APPLICATION = "add a secret to the application"
    TAKE_FROM_APPLICATION = "remove a secret of the application"
    ACCOUNT_KEYS = "list the account's keys"
    REGENERATE_KEY = "regenerate a key of the account"


_OF_ARM = frozenset({Step.ACCOUNT_KEYS, Step.REGENERATE_KEY})


class AzureCallError(Exception):
    """What went wrong, by type and HTTP status only: the cause of a BrokerError, safe to log."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks what of whom: `connector` is its name, `identity` who that is to Azure.

    `emulator` says that the answers are Azurite's. `assignee` is the client id that a role can be assigned to, `place`
    the subscription or resource group that is looked through, `subscription` the one of several.
    """

    step: Step
    connector: str
    identity: Identity
    account: str = ""
    container: str = ""
    emulator: bool = False
    assignee: str = ""
    place: str = ""
    subscription: str = ""

    def failed(
        self,
        reason: Reason,
        text: str,
        *,
        code: str = "",
        retry_after: float | None = None,
        public: str | None = None,
        mend: str = "",
    ) -> BrokerError:
        """Returns the error for this step; `public` is what callers are told who do not run the broker, if else.

        `mend` is what to do: the end of `text`, and a command on a line of its own.
        """
        return cloud_error(
            reason,
            text,
            step=self.step.value,
            connector=self.connector,
            account=self.account,
            azure_code=code,
            retry_after=retry_after,
            public_message=public,
            mend=mend,
        )

    def __str__(self) -> str:
        what = f"{self.step.value} {self.container}" if self.container else self.step.value
        what = f"{what} of subscription {self.subscription}" if self.subscription else what
        return f"{what} at storage account {self.account}" if self.account else what


async def ask(asking: Asking, call: Callable[[], Awaitable[T]], *, once: bool = False) -> T:
    """Runs `call`, and unless `once` once again if the connection failed; answers of any status are final.

    Raises BrokerError, whose cause and context hold nothing of Azure's exception but type and status.
    """
    for last in (True,) if once else (False, True):
        try:
            return await call()
        except BrokerError:
            raise
        except LIBRARY_ERRORS as error:
            if not last and _connection_failed(error):
                continue
            of_identity = asking.step is Step.MANAGED_IDENTITY
            failure = _no_managed_identity(error, asking) if of_identity else broker_error(error, asking)
            cause = AzureCallError(_what(error))
        # Raised outside of the handler: the original would stay attached as __context__.
        raise failure from cause
    raise AssertionError  # pragma: no cover (the second round returns or raises)


def broker_error(error: Exception, asking: Asking) -> BrokerError:
    """Returns the BrokerError for what an Azure library raised during `asking`."""
    if isinstance(error, HttpResponseError):
        if error.status_code is not None:
            return _answered(error, error.status_code, asking)
        if asking.step is Step.LOG_IN and _aadsts(error):
            return _answered(error, 400, asking)
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return asking.failed(Reason.CLOUD_UNAVAILABLE, f"Cannot {asking}: no answer in time. Try again later.")
    for inner in _chain(error):
        if what := _in_the_settings(inner):
            # An outage that the settings have to end: callers hear of the outage only.
            return asking.failed(Reason.CLOUD_UNAVAILABLE, f"Cannot {asking}: {what}", public=_public(asking))
        if asking.account and asking.step not in _OF_ARM and _says_no_such_name(inner):
            return asking.failed(
                Reason.RESOURCE_NOT_FOUND,
                f"Cannot {asking}: its name is not in DNS. Check the account's name and that it still exists.",
            )
    if any(isinstance(inner, aiohttp.ClientConnectorDNSError) for inner in _chain(error)):
        # A DNS server that does not answer, say: that passes.
        text = f"Cannot {asking}: DNS does not tell where that is. Try again later."
    elif isinstance(error, ServiceRequestError | aiohttp.ClientError | OSError):
        text = f"Cannot {asking}: the connection failed. Try again later."
    else:
        why = str(error) if isinstance(error, EndlessListError) else "the answer could not be understood"
        text = f"Cannot {asking}: {why}. Try again later."
    return asking.failed(Reason.CLOUD_UNAVAILABLE, text)


def _no_managed_identity(error: Exception, asking: Asking) -> BrokerError:
    answers = [inner for inner in _chain(error) if isinstance(inner, HttpResponseError) and inner.status_code]
    if not answers:
        text = (
            f"Cannot {asking}: nothing answers where the broker runs. Azure's machines have managed identities, and "
            "nobody else; elsewhere, register the connector with another auth method."
        )
        return asking.failed(Reason.CLOUD_UNAVAILABLE, text, public=_public(asking))
    status = answers[0].status_code or 0
    if status in _IDENTITIES_CHANGE or status < HTTPStatus.BAD_REQUEST:
        status = HTTPStatus.SERVICE_UNAVAILABLE
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _answered(answers[0], status, asking)
    text = managed_identity_refused(asking.identity, next(filter(None, map(_aadsts, answers)), ""))
    return asking.failed(Reason.CLOUD_CREDENTIAL_REJECTED, text)


def _public(asking: Asking) -> str:
    return f"Cannot {asking}: the connection failed; tell those who run the broker."


def _in_the_settings(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "its TLS certificate is not trusted. Check ca_file of the cloud profile."
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return "the proxy of the cloud profile is away, or does not let the broker through."
    return ""


def _answered(error: HttpResponseError, status: int, asking: Asking) -> BrokerError:
    code = _aadsts(error) if asking.step is Step.LOG_IN else _service_code(error)
    if asking.emulator and asking.identity.shared_key and code == "AuthorizationFailure":
        code = "AuthenticationFailed"  # Azurite's word for a signature that does not fit.
    retry_after = retry_after_of(error)
    reason = outcome(status, code, asks_to_wait=retry_after is not None)
    if reason is Reason.CLOUD_THROTTLED or code in _THROTTLED:
        wait = "" if retry_after is None else f" for {retry_after:g} s"
        text = f"Cannot {asking}: Azure asks to wait{wait}. Try again then."
        return asking.failed(Reason.CLOUD_THROTTLED, text, code=code, retry_after=retry_after)
    if reason is Reason.CLOUD_UNAVAILABLE or code in _TRANSIENT:
        said = f"{code}, HTTP {status}" if code else f"HTTP {status}"
        text = f"Cannot {asking}: Azure answered with {said}. Try again later."
        return asking.failed(Reason.CLOUD_UNAVAILABLE, text, code=code, retry_after=retry_after)
    if asking.step is Step.LOG_IN:
        return _log_in_refused(error, status, asking, code)
    return _call_refused(reason, status, asking, code)


def _log_in_refused(error: HttpResponseError, status: int, asking: Asking, code: str) -> BrokerError:
    if not code and not any(word in str(error.message) for word in _OAUTH_REFUSALS):
        text = f"Cannot {asking}: HTTP {status}, but no answer that Entra would give. Try again later."
        return asking.failed(Reason.CLOUD_UNAVAILABLE, text)
    text = log_in_refused(asking.identity, code)
    return asking.failed(Reason.CLOUD_CREDENTIAL_REJECTED, text, code=code, mend=text.partition(". ")[2])


def _call_refused(reason: Reason, status: int, asking: Asking, code: str) -> BrokerError:
    if reason is Reason.RESOURCE_NOT_FOUND:
        hint = "check the names, and that they still exist."
    elif reason is Reason.CLOUD_CREDENTIAL_REJECTED:
        hint = not_accepted(asking.identity)
    elif reason is Reason.CLOUD_PERMISSION_MISSING:
        hint = not_allowed(asking.step.name, code, asking.identity)
    else:
        hint = (
            "Azure does not do that here, and another try will not change it. Look the code up in Azure's error codes."
        )
    text = f"Cannot {asking}: {code or f'HTTP {status}'}: {hint}"
    return asking.failed(reason, text, code=code, mend=_mend(asking, reason, code, hint))


def _mend(asking: Asking, reason: Reason, code: str, hint: str) -> str:
    """Returns what to do of a hint that may begin with the cause, and the command that does it."""
    todo = hint if hint.startswith("assign ") else hint.partition(". ")[2]
    pasted = command(
        asking.step.name,
        reason,
        code,
        assignee=asking.assignee,
        account=asking.account,
        container=asking.container,
        place=asking.place,
        shared_key=asking.identity.shared_key,
    )
    return "\n".join(filter(None, (todo, pasted)))


def _aadsts(error: HttpResponseError) -> str:
    match = _AADSTS.search(str(error.message))
    return f"AADSTS{match[1]}" if match else ""


def _service_code(error: HttpResponseError) -> str:
    headers = getattr(error.response, "headers", {})
    named = getattr(error, "error_code", None)
    candidates = (
        headers.get("x-ms-error-code"),
        getattr(named, "value", named),
        getattr(error.error, "code", None),
    )
    return next((code for code in candidates if isinstance(code, str) and _CODE.fullmatch(code)), "")


def _says_no_such_name(error: BaseException) -> bool:
    return isinstance(error, aiohttp.ClientConnectorDNSError) and error.os_error.errno in _NO_SUCH_NAME


def _connection_failed(error: Exception) -> bool:
    return isinstance(error, ServiceRequestError) and not isinstance(error, ServiceRequestTimeoutError)


def _what(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    inner = [type(each).__name__ for each in _chain(error)]
    return " < ".join(inner) + (f", HTTP {status}" if status is not None else "")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__
