"""Reads connection strings strictly: an account and its key in the cloud that they are for, or a refusal.

Source: https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from urllib.parse import urlsplit

from valetkey_broker.adapters.azure.shared_key import check_account_key
from valetkey_broker.model import CloudProfile, CredentialValue, InvalidFieldError, Secret
from valetkey_broker.model.cloud_profile import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY

_FIELD = "connection_string"
_MOST_CHARACTERS = 8192
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")

_READ = (
    "DefaultEndpointsProtocol",
    "AccountName",
    "AccountKey",
    "EndpointSuffix",
    "BlobEndpoint",
    "UseDevelopmentStorage",
    "SharedAccessSignature",
)
# `az storage account show-connection-string` names all services of an account; the broker uses blobs alone.
_PASSED_OVER = tuple(
    f"{service}{kind}"
    for service in ("Blob", "File", "Queue", "Table", "Dfs", "Web")
    for kind in ("Endpoint", "SecondaryEndpoint")
    if service + kind != "BlobEndpoint"
)
_NAMES: Mapping[str, str] = {name.lower(): name for name in (*_READ, *_PASSED_OVER)}
_EXPECTED = "DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…, as Azure shows it"


@dataclass(frozen=True, slots=True)
class AccountAndKey(CredentialValue):
    """What a connection string is about."""

    account: str
    account_key: Secret = field(repr=False)


def read_connection_string(text: Secret, profile: CloudProfile) -> AccountAndKey:
    """Returns the account and the key in `text`, which is of the cloud `profile`.

    Raises InvalidFieldError, which names the part that is wrong and shows no value: people mix them up.
    """
    parts = _parts(text.reveal())
    if "SharedAccessSignature" in parts:
        raise _refused(
            "holds a SharedAccessSignature: a token, which somebody has cut and which ends; no other can be made of it",
            "one with the AccountKey",
        )
    if "UseDevelopmentStorage" in parts:
        return _development(parts, profile)
    found = _account_and_key(parts)
    _check_endpoint(parts, found.account, profile)
    return found


def write_connection_string(value: AccountAndKey) -> str:
    """Returns a connection string of the same account and key, for whichever cloud."""
    return f"AccountName={value.account};AccountKey={value.account_key.reveal()}"


def read_written(text: Secret) -> AccountAndKey:
    """Returns the account and the key in what `write_connection_string` wrote. Raises InvalidFieldError."""
    return _account_and_key(_parts(text.reveal()))


def _account_and_key(parts: Mapping[str, str]) -> AccountAndKey:
    missing = next((name for name in ("AccountName", "AccountKey") if not parts.get(name)), "")
    if missing:
        raise _refused(f"has no {missing}", _EXPECTED)
    account = parts["AccountName"]
    if not _ACCOUNT.fullmatch(account):
        raise _refused("its AccountName is not a storage account name", "3 to 24 lower-case letters and digits")
    try:
        return AccountAndKey(account, check_account_key(_FIELD, Secret(parts["AccountKey"])))
    except InvalidFieldError as error:
        raise _refused(f"its AccountKey {error.problem}", error.expected) from None


def _parts(text: str) -> Mapping[str, str]:
    if not text:
        raise _refused("is not given", _EXPECTED)
    if len(text) > _MOST_CHARACTERS:
        raise _refused(f"is {len(text)} characters long", f"at most {_MOST_CHARACTERS}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise _refused("holds a line end, a space or something else that no connection string has", "one line of ASCII")
    parts: dict[str, str] = {}
    for number, part in enumerate(text.removesuffix(";").split(";"), 1):
        name, equals, value = part.partition("=")
        known = _NAMES.get(name.lower())
        if known is None or not equals:
            raise _unknown(number, name)
        if known in parts:
            raise _refused(f"holds {known} twice", "each part once")
        parts[known] = value
    return parts


def _unknown(number: int, name: str) -> InvalidFieldError:
    # What stands there may be a key that lost its name, so it is not shown.
    near = get_close_matches(name.lower(), _NAMES, n=1)
    hint = f"; {_NAMES[near[0]]}=… comes near" if near else ""
    return _refused(f"its part {number} is none that is known{hint}", _EXPECTED)


def _check_endpoint(parts: Mapping[str, str], account: str, profile: CloudProfile) -> None:
    if parts.get("DefaultEndpointsProtocol", "https").lower() != "https":
        raise _refused("its DefaultEndpointsProtocol is not https, without which no token goes anywhere", "https")
    right = profile.blob_url(account)
    suffix = parts.get("EndpointSuffix")
    if suffix is not None and f"https://{account}.blob.{suffix.lower()}" != right:
        raise _elsewhere("EndpointSuffix", account, profile)
    endpoint = parts.get("BlobEndpoint")
    if endpoint is None:
        return
    try:
        given = urlsplit(endpoint)
        origin = (given.scheme.lower(), given.netloc.lower().removesuffix(":443"), given.path.rstrip("/"))
        extra = given.query or given.fragment
    except ValueError:
        raise _elsewhere("BlobEndpoint", account, profile) from None
    if origin[0] == "http":
        raise _refused("its BlobEndpoint is http, over which no token goes anywhere", right)
    wanted = urlsplit(right)
    if origin != (wanted.scheme, wanted.netloc.lower().removesuffix(":443"), wanted.path.rstrip("/")) or extra:
        raise _elsewhere("BlobEndpoint", account, profile)


def _elsewhere(part: str, account: str, profile: CloudProfile) -> InvalidFieldError:
    return _refused(
        f"its {part} is not where the cloud {profile.name} has account {account}",
        f"one for {profile.blob_url(account)}, or the name of the account's own cloud",
    )


def _development(parts: Mapping[str, str], profile: CloudProfile) -> AccountAndKey:
    if parts["UseDevelopmentStorage"].lower() != "true" or len(parts) > 1:
        raise _refused("its UseDevelopmentStorage is not true, or does not stand alone", "UseDevelopmentStorage=true")
    if not profile.emulator:
        raise _refused(
            f"its UseDevelopmentStorage means an emulator, and the cloud {profile.name} is none",
            f"{_EXPECTED}; or a cloud whose settings say: emulator = true",
        )
    return AccountAndKey(DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY)


def _refused(problem: str, expected: str) -> InvalidFieldError:
    return InvalidFieldError(_FIELD, problem, expected)
