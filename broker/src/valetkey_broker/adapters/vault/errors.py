"""What goes wrong with Vault, told to people: which setting, what was expected, what to do next."""

import requests
from hvac import exceptions as hvac

from valetkey_broker.adapters.vault.broken_connections import broke_off, certificate_refused
from valetkey_broker.errors import BrokerError, ConfigurationError, vault_unavailable

DENIED = "denied"
_POLICY = "give the broker's role the policy of docs/vault.md, for the mount of setting vault.mount in vault.namespace"


class CredentialFileError(Exception):
    """A file that the login needs cannot be used. Its text never holds the content."""


class UnexpectedAnswerError(Exception):
    """Something answered that does not speak as Vault's KV v2 does. Its text holds nothing of the answer."""


VAULT_ERRORS: tuple[type[Exception], ...] = (
    OSError,  # every exception of requests is one
    hvac.VaultError,
    ConfigurationError,  # the CA file
    CredentialFileError,
    UnexpectedAnswerError,
    # What hvac trips over where an answer is JSON, and none of Vault's.
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


def explain(error: Exception, doing: str) -> BrokerError:
    """Returns the error to raise for `error`, which happened while `doing`, such as "logging in".

    `metadata["cause"]` is one of: sealed, standby, unreachable, timeout, untrusted certificate,
    login refused, credential file, denied, not found, throttled, refused, failing, unexpected answer.
    Do not chain the error to it: exceptions of requests hold the request, and with it the token.
    """
    if isinstance(error, CredentialFileError):
        return unavailable("credential file", doing, str(error))
    if isinstance(error, ConfigurationError):
        return unavailable("untrusted certificate", doing, str(error))
    if isinstance(error, UnexpectedAnswerError):
        return unavailable("unexpected answer", doing, str(error))
    if isinstance(error, hvac.VaultError):
        return _answered(error, doing)
    if not isinstance(error, OSError):
        what = "the answer cannot be understood; look whether Vault, and nothing else, answers at vault.address"
        return unavailable("unexpected answer", doing, what)
    return _not_answered(error, doing)


def login_refused(auth: str) -> BrokerError:
    """Returns the error for what the broker shows at its login, by `vault.auth`, and Vault does not take."""
    return unavailable("login refused", "logging in", f"it refused {_REFUSED[auth]}{_SAME_PLACE}")


_SAME_PLACE = (
    " and vault.namespace with the role's, and vault.address with that of Vault's API, which mostly has no path"
)
_REFUSED = {
    "approle": "the role id and secret id; make a new secret id for the role, write it to the file of "
    "vault.secret_id_file, compare vault.role_id_file, vault.approle_mount",
    "kubernetes": "the service account's token in vault.jwt_file; look whether Vault reaches the cluster's API server "
    "and may review tokens there, and compare namespace, service account and audience of the token, vault.role, "
    "vault.auth_mount",
    "jwt": "the token in vault.jwt_file; compare its issuer, subject and audience, vault.role, vault.auth_mount",
}


def timed_out(doing: str) -> BrokerError:
    """Returns the error for a call that took longer than the settings allow."""
    return unavailable("timeout", doing, f"it did not answer in time (vault.timeout_seconds){_unsure(doing)}")


def unavailable(cause: str, doing: str, what: str, *, retry_after: float | None = None) -> BrokerError:
    """Returns a VAULT_UNAVAILABLE error. `retry_after` is in seconds."""
    message = f"Vault cannot be used (while {doing}): {what}"
    return vault_unavailable(message, cause, retry_after=retry_after)


# Go's server, to who forgets the s of https.
_TLS_EXPECTED = "HTTP request to an HTTPS server"
_BEGIN_WITH_HTTPS = "begin vault.address with https://"
_MAYBE_TLS = f"and where it speaks TLS {_BEGIN_WITH_HTTPS}"
_CHANGES = ("writing", "destroying")


def _answered(error: hvac.VaultError, doing: str) -> BrokerError:  # noqa: PLR0911 (a table)
    said = " ".join(str(each) for each in error.errors or ())
    match error:
        case hvac.Forbidden() | hvac.Unauthorized():
            return unavailable(DENIED, doing, f"it denied the broker this; {_POLICY}")
        case hvac.InvalidPath():
            what = (
                "nothing is mounted there; enable a KV v2 engine at the mount of setting vault.mount in vault.namespace"
            )
            return unavailable("not found", doing, what)
        case hvac.InvalidRequest() if _TLS_EXPECTED in str(error.text):
            what = f"it speaks TLS there, and was asked in plain HTTP; {_BEGIN_WITH_HTTPS}"
            return unavailable("unexpected answer", doing, what)
        case hvac.VaultDown() if "sealed" in said:
            return unavailable("sealed", doing, "it is sealed; unseal it, the broker then goes on by itself")
        case hvac.VaultDown() | hvac.VaultNotInitialized() | hvac.BadGateway():
            return unavailable("standby", doing, "no active node answered; look at its cluster's health")
        case hvac.RateLimitExceeded():
            return unavailable("throttled", doing, "a rate limit quota was hit; try again later", retry_after=1.0)
        case hvac.InternalServerError() | hvac.UnexpectedError():
            return unavailable("failing", doing, "it failed with an error of its own; look at its log")
        case _:
            # A 400 may quote what was sent: its text stays here.
            what = "it refused the request; expected KV v2 at vault.mount, and vault.auth at its own mount"
            return unavailable("refused", doing, what)


def _not_answered(error: Exception, doing: str) -> BrokerError:  # noqa: PLR0911 (a table)
    # The order matters: in requests, a timeout to connect and a TLS failure are both connection errors too.
    match error:
        case requests.Timeout():
            return timed_out(doing)
        case requests.exceptions.ProxyError():
            what = (
                "the proxy of setting vault.proxy does not answer, or does not let the broker through to vault.address"
            )
            return unavailable("unreachable", doing, what)
        case requests.RequestException() if broke_off(error):
            # As a server of Go does, too, that was asked in plain HTTP: it answers and closes at once. Where some of
            # the request is still unread, the kernel resets the connection behind the answer, or before it.
            what = f"its connection broke off before its answer was here{_unsure(doing)}; look at its log"
            tls = f", {_MAYBE_TLS}" if error.request is None or _asked_in_plain_http(error) else ""
            return unavailable("unreachable", doing, what + tls)
        case requests.exceptions.SSLError() if certificate_refused(error):
            what = "its certificate is not trusted; expected one for the host of vault.address by vault.ca_file"
            return unavailable("untrusted certificate", doing, what)
        case requests.exceptions.SSLError():
            what = "no TLS connection comes about; look whether Vault speaks TLS at the host and port of vault.address"
            return unavailable("unexpected answer", doing, what)
        case requests.RequestException():
            what = "nothing answers at the address of setting vault.address; look whether it runs there"
            return unavailable("unreachable", doing, what)
        case _:
            what = "the file of setting vault.ca_file cannot be used; expected CA certificates as PEM"
            return unavailable("untrusted certificate", doing, what)


def _unsure(doing: str) -> str:
    return "; whether it was done is not known, so look before you repeat it" if doing in _CHANGES else ""


def _asked_in_plain_http(error: requests.RequestException) -> bool:
    return str(getattr(error.request, "url", "")).startswith("http://")
