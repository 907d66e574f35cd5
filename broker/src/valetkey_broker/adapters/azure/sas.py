"""Signing: the hot path. Pure computation.

azure-storage-blob lays out the token: once for each (key, container, permissions, address), with placeholders for what
changes from token to token. Each token then fills in times and id and computes the signature over them, as the SDK
would; a test compares the two over all inputs. The SDK alone takes several times as long, mostly for URL quoting.
"""

import base64
import binascii
import hashlib
import hmac
import re
import time
from dataclasses import dataclass, field
from functools import lru_cache
from weakref import WeakKeyDictionary

from azure.storage.blob import UserDelegationKey, generate_container_sas

from valetkey_broker.model import InvalidFieldError, SasRequest, SignedToken, check_account

# The SDK signs control characters verbatim, and a newline in one field shifts all later ones of the string to sign.
# So each string is matched whole here once more, whatever was checked before.
_CONTAINER = re.compile(r"\$root|\$web|\$logs|[a-z0-9](?:[a-z0-9-]){1,61}[a-z0-9]")
_SOURCE_IP = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:-[0-9]{1,3}(?:\.[0-9]{1,3}){3})?)?")
_LEASE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")

# Placeholders that nothing else in a token can look like: its key's own times lie in this century.
_START, _EXPIRY, _ID = "1601-01-01T00:00:00Z", "1601-01-02T00:00:00Z", "PLACEHOLDER-OF-THE-LEASE-ID"
_MOST_SHAPES = 1024

_Shape = tuple[str, str, str, str, bool]


@dataclass(frozen=True, slots=True)
class _Layout:
    """A token with placeholders: what is signed, what is sent, and the key that signs, made ready for it."""

    to_sign: str
    query: str
    signer: hmac.HMAC = field(repr=False)


# Held by the key itself, so that the layouts of a key that is forgotten go with it.
_LAYOUTS: WeakKeyDictionary[UserDelegationKey, dict[_Shape, _Layout]] = WeakKeyDictionary()


def sign(request: SasRequest) -> SignedToken:
    """Returns a user delegation SAS for a container, https only.

    Raises InvalidFieldError where a field could not be signed safely, or where the key is another account's or
    does not live as long as the token would.
    """
    key = request.key
    if key.account != request.account:
        raise InvalidFieldError("key", "belongs to another account", f"a key of {request.account}")
    if not request.starts < request.expires <= key.expires:
        raise InvalidFieldError("expires", "is not between start and the key's expiry", "a token its key outlives")
    _whole(_LEASE_ID, "lease_id", request.lease_id)
    layout = _layout(request)
    start, expiry = _iso(request.starts), _iso(request.expires)
    to_sign = layout.to_sign.replace(_START, start).replace(_EXPIRY, expiry).replace(_ID, request.lease_id)
    query = layout.query.replace(_quoted(_START), _quoted(start)).replace(_quoted(_EXPIRY), _quoted(expiry))
    signature = _signature(layout.signer, to_sign)
    return SignedToken(
        query.replace(_ID, request.lease_id) + _escaped(signature), hashlib.sha256(signature).hexdigest()
    )


def _layout(request: SasRequest) -> _Layout:
    material: UserDelegationKey = request.key.material
    shapes = _LAYOUTS.get(material)
    if shapes is None:
        shapes = _LAYOUTS[material] = {}
    correlated = request.profile.correlation_id
    shape = (request.account, request.container, request.permissions.sp, request.source_ip, correlated)
    layout = shapes.get(shape)
    if layout is None:
        layout = shapes[shape] = _laid_out(material, *shape)
        if len(shapes) > _MOST_SHAPES:
            del shapes[next(iter(shapes))]  # The oldest: whoever asks for ever new addresses fills it only for a while.
    return layout


def _laid_out(
    material: UserDelegationKey, account: str, container: str, permissions: str, source_ip: str, correlated: bool
) -> _Layout:
    check_account("account", account)
    _whole(_CONTAINER, "container", container)
    _whole(_SOURCE_IP, "source_ip", source_ip)
    signed: list[str] = []
    token = generate_container_sas(
        account,
        container,
        user_delegation_key=material,
        permission=permissions,
        start=_START,
        expiry=_EXPIRY,
        ip=source_ip or None,
        protocol="https",
        correlation_id=_ID if correlated else None,
        sts_hook=signed.append,
    )
    signer = hmac.new(base64.b64decode(material.value or ""), digestmod=hashlib.sha256)
    query, separator, signature = token.rpartition("sig=")
    once = 1 if correlated else 0
    if (
        len(signed) != 1
        or signature != _escaped(_signature(signer, signed[0]))
        or (signed[0].count(_START), signed[0].count(_EXPIRY), signed[0].count(_ID)) != (1, 1, once)
        or (query.count(_quoted(_START)), query.count(_quoted(_EXPIRY)), query.count(_ID)) != (1, 1, once)
    ):
        raise AssertionError("this version of azure-storage-blob lays tokens out in a way that is not understood")
    return _Layout(signed[0], query + separator, signer)


def _signature(signer: hmac.HMAC, to_sign: str) -> bytes:
    # A copy: what both hashes make of the key is not computed again for each token.
    signing = signer.copy()
    signing.update(to_sign.encode("utf-8"))
    return binascii.b2a_base64(signing.digest(), newline=False)


def _escaped(signature: bytes) -> str:
    return signature.replace(b"+", b"%2B").replace(b"=", b"%3D").decode("ascii")


@lru_cache(maxsize=1024)  # within one second all callers share their start, and most of them their end
def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@lru_cache(maxsize=1024)
def _quoted(iso: str) -> str:
    return iso.replace(":", "%3A")


def _whole(pattern: re.Pattern[str], field_name: str, value: str) -> None:
    if not pattern.fullmatch(value):
        raise InvalidFieldError(field_name, "holds what must not be signed", "a value that was validated")
