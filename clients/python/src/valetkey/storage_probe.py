"""Tries a token at storage once, with a request that changes nothing, and explains the answer."""

import ssl
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import quote, urlsplit

from valetkey.sas import Finding, Sas

_SECONDS = 10.0
_MOST_BYTES = 65_536
# What stays as it is in a path, escapes included.
_IN_PATHS = "/%!$&'()*+,;=:@~"
# A blob that is not there: whether storage takes the token shows all the same.
_NOBODYS_BLOB = ".valetkey-probe/doctor"
_TELL = "Tell those who run the broker: valetkey service-connector verify NAME --probe-write finds the cause."
_REFUSALS = {
    "AuthenticationFailed": (
        "signature",
        "storage does not accept the signature: its key was revoked or regenerated, or the token was altered",
        "Ask for a new token; if that is refused too: valetkey service-connector drop-keys NAME (operators).",
    ),
    "AuthorizationFailure": (
        "network",
        "storage refuses the address of this machine: a firewall of the account, or private endpoints only",
        "Call from a network that the account's firewall admits, or have this one admitted.",
    ),
    "AuthorizationSourceIPMismatch": ("address", "storage sees another address than the token is bound to", ""),
    "AuthorizationProtocolMismatch": ("protocol", "the token is for https only", "Use https://."),
    "AuthorizationServiceMismatch": ("scope", "the token is for another service of the account", ""),
    "AuthorizationResourceTypeMismatch": ("scope", "the token is for another kind of resource", ""),
    "KeyBasedAuthenticationNotPermitted": (
        "shared-key-off",
        "the account does not allow shared key access, and the token was signed with an account key",
        _TELL,
    ),
    "AccountIsDisabled": ("account-disabled", "the storage account is disabled", _TELL),
    "PublicAccessNotPermitted": ("network", "the account is reached over private endpoints only", ""),
}


@dataclass(frozen=True, slots=True)
class StorageAnswer:
    """What storage said. `status` is 0 where it said nothing; `date` is its clock as it wrote it."""

    status: int
    code: str = ""
    date: str = ""
    why: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the token was taken, whatever it was asked for."""
        return self.status in (200, 206, 404)


def is_emulator(url: str) -> bool:
    """Tells whether a URL is an emulator's, which has the account in its path."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def probe_storage(sas: Sas, resource_url: str, ca_file: Path | None) -> StorageAnswer:
    """Asks once: lists one blob where the token may, otherwise whether a blob is there. Follows no redirect.

    `resource_url` is what the token is for, at a host that the broker named. Never raises what would show the token.
    """
    parts = urlsplit(resource_url)
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    own = parts.path.rstrip("/")
    listing = sas.allows("list") and sas.fields.get("sr") == "c"
    if listing:
        path, query = own, f"restype=container&comp=list&maxresults=1&{sas.query}"
    else:
        used = urlsplit(sas.url).path
        whole = used if used.startswith(f"{own}/") else own
        single = sas.fields.get("sr") == "b" or whole != own
        path, query = whole if single else f"{own}/{_NOBODYS_BLOB}", sas.query
    path = quote(path, safe=_IN_PATHS)  # People copy URLs with blanks in names.
    connection = HTTPSConnection(parts.hostname or "", parts.port, timeout=_SECONDS, context=context)
    try:
        connection.request("GET" if listing else "HEAD", f"{path}?{query}", headers={"User-Agent": "valetkey-doctor"})
        answer = connection.getresponse()
        answer.read(_MOST_BYTES)
        return StorageAnswer(answer.status, answer.headers.get("x-ms-error-code", ""), answer.headers.get("Date", ""))
    except (OSError, HTTPException) as error:
        # By its type only: the text may quote the request.
        return StorageAnswer(0, why=type(error).__name__)
    finally:
        connection.close()


def finding_of(answer: StorageAnswer, sas: Sas, *, emulator: bool = False) -> Finding | None:
    """Returns what storage's answer explains; None where it took the token."""
    if answer.accepted:
        return None
    if answer.status == 0:
        message = f"storage did not answer this machine ({answer.why}): a network on the way, or the account is gone"
        return Finding("unreachable", message, "Try from where the token is used.")
    code = answer.code
    if code == "AuthorizationPermissionMismatch":
        if not (sas.allows("read") or sas.allows("list")):
            return None  # The token is taken; what it may do cannot be tried without doing it.
        message = "the token has the permission, and the connector's own credential lacks it in Azure"
        return Finding("role-missing", message, _TELL, decides=True)
    if emulator and code == "AuthorizationFailure":
        code = "AuthenticationFailed"  # Azurite's word for a signature that does not fit.
    if code in _REFUSALS:
        cause, message, mend = _REFUSALS[code]
        return Finding(cause, message, mend, decides=True)
    return Finding("refused", f"storage answers {code or 'without a code'}, HTTP {answer.status}", _TELL, decides=True)
