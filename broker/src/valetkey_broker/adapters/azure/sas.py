"""Signing: the hot path. Pure computation.

azure-storage-blob lays out the token: once for each (kind of scope, container, permissions, address) of a key, with
placeholders for what changes from token to token. Each token then fills in times, path and id and computes the
signature over them, as the SDK would; tests compare the two over all inputs, with the oldest and the newest SDK. The
SDK alone takes several times as long, mostly for URL quoting.
"""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from azure.storage.blob import UserDelegationKey, generate_blob_sas, generate_container_sas

from valetkey_broker.model import InvalidFieldError, SasRequest, Scope, ScopeKind, Secret, SignedToken, check_account

# The SDK signs control characters verbatim, and a newline in one field shifts all later ones of the string to sign.
# So each string is matched whole here once more, whatever was checked before.
_CONTAINER = re.compile(r"\$root|\$web|\$logs|[a-z0-9](?:[a-z0-9-]){1,61}[a-z0-9]")
_PATH_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.=@+,~!()'-]+"
_PATH = re.compile(rf"{_PATH_SEGMENT}(?:/{_PATH_SEGMENT})*")
_SOURCE_IP = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:-[0-9]{1,3}(?:\.[0-9]{1,3}){3})?)?")
_LEASE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")

# Placeholders that nothing else in a token can look like: its key's own times lie in this century.
_START, _EXPIRY, _ID = "1601-01-01T00:00:00Z", "1601-01-02T00:00:00Z", "PLACEHOLDER-OF-THE-LEASE-ID"
# Filled in last, so that nothing in a path is taken for a placeholder.
_HELD_PATH, _ONE_DEEPER = "PLACEHOLDER_OF_THE_PATH", "/_"
_MOST_SHAPES = 1024

_Shape = tuple[str, str, int, str, str, bool]


@dataclass(frozen=True, slots=True)
class _Layout:
    """A token with placeholders: what is signed, and what is sent; `path` is the one for the path in what is signed."""

    to_sign: str
    query: str
    path: str


@dataclass(frozen=True, slots=True)
class _Filled:
    """A layout with the times of the token that was made of it last, cut where the lease id comes.

    Those who ask for the same in the same second, and a call that asks for many, need no more than a path filled in.
    """

    starts: int
    expires: int
    held_path: str
    to_sign: Sequence[str]
    query: Sequence[str]


class SasSigner:
    """Signs tokens of one account with one key: the `material` of every `SigningKey` of Azure."""

    def __init__(
        self, account: str, key: Secret, sdk_arguments: Callable[[], Mapping[str, Any]], *, correlates: bool
    ) -> None:
        """`key` is in base64; `sdk_arguments` gives that same key as the SDK's `generate_…_sas` take it.

        `correlates` says whether tokens of that kind of key can hold the lease id.
        """
        self._account = check_account("account", account)
        # Computed once: what both hashes make of the key is the same for every token.
        self._signer = hmac.new(base64.b64decode(key.reveal()), digestmod=hashlib.sha256)
        self._sdk_arguments = sdk_arguments
        self._correlates = correlates
        self._layouts: dict[_Shape, _Layout] = {}
        self._filled: dict[_Shape, _Filled] = {}

    def sign(self, request: SasRequest, lease_ids: Sequence[str]) -> Sequence[SignedToken]:
        """Returns a SAS, https only, for each of `lease_ids`.

        Raises InvalidFieldError where a field could not be signed safely.
        """
        if request.scope.account != self._account:
            raise InvalidFieldError("key", "belongs to another account", f"a key of {request.scope.account}")
        scope, correlated = request.scope, request.profile.correlation_id and self._correlates
        if scope.kind is not ScopeKind.CONTAINER:
            _whole(_PATH, "path", scope.path)
        elif scope.path:
            raise InvalidFieldError("path", "is not empty", "a container as a whole")
        # All that shapes a token besides its account, which is the signer's. Python's own way to an enum's value costs.
        kind: str = scope.kind._value_
        depth = scope.path.count("/") if scope.kind is ScopeKind.DIRECTORY else 0
        shape = (kind, scope.container, depth, request.permissions.sp, request.source_ip, correlated)
        filled = self._filled.get(shape)
        if filled is None or filled.starts != request.starts or filled.expires != request.expires:
            filled = self._filled[shape] = self._filled_in(shape, request)
        to_sign = filled.to_sign
        if filled.held_path:
            to_sign = [part.replace(filled.held_path, scope.path) for part in to_sign]
        signed = []
        for lease_id in lease_ids:
            _whole(_LEASE_ID, "lease_id", lease_id)
            signature = self._signature(lease_id.join(to_sign))
            token = lease_id.join(filled.query) + _escaped(signature)
            signed.append(SignedToken(token, hashlib.sha256(signature).hexdigest()))
        return signed

    def _filled_in(self, shape: _Shape, request: SasRequest) -> _Filled:
        layout = self._layout(shape, request)
        start, expiry = _iso(request.starts), _iso(request.expires)
        to_sign = layout.to_sign.replace(_START, start).replace(_EXPIRY, expiry)
        query = layout.query.replace(_quoted(_START), _quoted(start)).replace(_quoted(_EXPIRY), _quoted(expiry))
        # Cut where the id comes before a path is filled in: nothing in a path is taken for a placeholder.
        return _Filled(request.starts, request.expires, layout.path, to_sign.split(_ID), query.split(_ID))

    def _layout(self, shape: _Shape, request: SasRequest) -> _Layout:
        layout = self._layouts.get(shape)
        if layout is None:
            scope, depth, correlated = request.scope, shape[2], shape[-1]
            held = replace(scope, path=_HELD_PATH + _ONE_DEEPER * depth) if scope.path else scope
            layout = self._laid_out(held, request.permissions.sp, request.source_ip, correlated)
            self._layouts[shape] = layout
            if len(self._layouts) > _MOST_SHAPES:
                # The oldest: whoever asks for ever new addresses fills it only for a while.
                oldest = next(iter(self._layouts))
                del self._layouts[oldest]
                self._filled.pop(oldest, None)
        return layout

    def _laid_out(self, scope: Scope, permissions: str, source_ip: str, correlated: bool) -> _Layout:
        _whole(_CONTAINER, "container", scope.container)
        _whole(_SOURCE_IP, "source_ip", source_ip)
        signed: list[str] = []
        token = _SDK[scope.kind](
            scope,
            permission=permissions,
            start=_START,
            expiry=_EXPIRY,
            ip=source_ip or None,
            protocol="https",
            correlation_id=_ID if correlated else None,
            sts_hook=signed.append,
            **self._sdk_arguments(),
        )
        query, separator, signature = token.rpartition("sig=")
        once, path = int(correlated), scope.path
        if (
            len(signed) != 1
            or signature != _escaped(self._signature(signed[0]))
            or (signed[0].count(_START), signed[0].count(_EXPIRY), signed[0].count(_ID)) != (1, 1, once)
            or (query.count(_quoted(_START)), query.count(_quoted(_EXPIRY)), query.count(_ID)) != (1, 1, once)
            or (path and (signed[0].count(path), query.count(_HELD_PATH)) != (1, 0))
        ):
            raise AssertionError("this version of azure-storage-blob lays tokens out in a way that is not understood")
        return _Layout(signed[0], query + separator, path)

    def _signature(self, to_sign: str) -> bytes:
        signing = self._signer.copy()
        signing.update(to_sign.encode("utf-8"))
        return binascii.b2a_base64(signing.digest(), newline=False)


def user_delegation_signer(account: str, key: UserDelegationKey) -> SasSigner:
    """Returns what signs with a user delegation key."""
    return SasSigner(account, Secret(key.value or ""), lambda: {"user_delegation_key": key}, correlates=True)


def account_key_signer(account: str, key: Secret) -> SasSigner:
    """Returns what signs with one of the account's own keys (base64): service SAS, which know no lease id."""
    return SasSigner(account, key, lambda: {"account_key": key.reveal()}, correlates=False)


def sign(request: SasRequest, lease_ids: Sequence[str]) -> Sequence[SignedToken]:
    """Returns a SAS for the scope of `request` with each of `lease_ids`.

    Raises InvalidFieldError where a field could not be signed safely, or where the key is another account's or
    does not live as long as the token would.
    """
    if not request.starts < request.expires <= request.key.expires:
        raise InvalidFieldError("expires", "is not between start and the key's expiry", "a token its key outlives")
    signer: SasSigner = request.key.material
    return signer.sign(request, lease_ids)


def _container_sas(scope: Scope, **arguments: Any) -> str:
    token: str = generate_container_sas(scope.account, scope.container, **arguments)
    return token


def _blob_sas(scope: Scope, **arguments: Any) -> str:
    token: str = generate_blob_sas(scope.account, scope.container, scope.path, **arguments)
    return token


def _directory_sas(scope: Scope, **arguments: Any) -> str:
    # What azure-storage-file-datalake calls: newer versions of azure-storage-blob document it, the older ones take it.
    depth = scope.path.count("/") + 1
    return _blob_sas(scope, is_directory=True, sdd=depth, **arguments)


_SDK: Mapping[ScopeKind, Callable[..., str]] = {
    ScopeKind.CONTAINER: _container_sas,
    ScopeKind.BLOB: _blob_sas,
    ScopeKind.DIRECTORY: _directory_sas,
}
"""How the SDK lays out a token of each kind of scope. A kind that is not here cannot be signed."""


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
