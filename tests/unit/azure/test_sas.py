"""Signing, the last gate before a token exists."""

import base64
import gc
import math
import weakref
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import pytest
from azure.storage.blob import UserDelegationKey, generate_container_sas
from hypothesis import given
from hypothesis import strategies as st

from valetkey_broker.adapters.azure import sas
from valetkey_broker.model import (
    CloudProfile,
    Container,
    InvalidFieldError,
    Permission,
    PermissionSet,
    SasRequest,
    Scope,
    ScopeKind,
    Secret,
    SigningKey,
)

PROFILE = CloudProfile("any", "https://login.invalid", "", "https://{account}.blob.invalid")
NOW = 1_750_000_000
# Characters that would end a field of the string to sign or of the query string.
BREAKING = {chr(code) for code in range(0x21)} | {"&", "=", "?", "#", "%", "\x7f", "\x85", "\u2028"}


LEASE = "0f9d7c52-6a3e-4a53-9d53-0f3a4f4f6c11"


def sign(request: SasRequest, lease_id: str = LEASE) -> str:
    (signed,) = sas.sign(request, [lease_id])
    return signed.sas_token


def _sign_with(field: str, value: Any) -> str:
    change: dict[str, Any] = {field: value}
    if field == "lease_id":
        return sign(REQUEST, value)
    if field in ("account", "container"):
        change = {"scope": replace(REQUEST.scope, **change)}
    return sign(replace(REQUEST, **change))


def _key() -> UserDelegationKey:
    material = UserDelegationKey()  # type: ignore[no-untyped-call]
    material.signed_oid = material.signed_tid = "11111111-1111-1111-1111-111111111111"
    material.signed_start, material.signed_expiry = "2025-06-15T00:00:00Z", "2025-06-16T00:00:00Z"
    material.signed_service, material.signed_version = "b", "2025-01-05"
    material.value = base64.b64encode(bytes(32)).decode()
    return material


def _signing_key(material: UserDelegationKey | None = None, account: str = "demoaccount") -> SigningKey:
    return SigningKey(account, NOW - 900, NOW + 7200, sas.user_delegation_signer(account, material or _key()))


def _scope(account: str = "demoaccount", container: str = "demo-container") -> Scope:
    return Scope.of_container(Container(account, container, PROFILE.container_url(account, container)))


REQUEST = SasRequest(
    profile=PROFILE,
    scope=_scope(),
    permissions=PermissionSet(Permission),
    starts=NOW - 900,
    expires=NOW + 900,
    source_ip="",
    key=_signing_key(),
)


def test_a_sas_has_these_fields_and_no_others() -> None:
    """The query string is just what the issuing rules ask for: https, backdated start, container, lease id."""
    query = dict(parse_qsl(sign(REQUEST)))
    assert query.pop("sig")
    assert query.pop("sv")
    assert query == {
        "st": "2025-06-15T14:51:40Z",
        "se": "2025-06-15T15:21:40Z",
        "sp": "racwdlme",
        "spr": "https",
        "sr": "c",
        "scid": LEASE,
        "skoid": "11111111-1111-1111-1111-111111111111",
        "sktid": "11111111-1111-1111-1111-111111111111",
        "skt": "2025-06-15T00:00:00Z",
        "ske": "2025-06-16T00:00:00Z",
        "sks": "b",
        "skv": "2025-01-05",
    }


@given(
    field=st.sampled_from(["account", "container", "source_ip", "lease_id"]),
    before=st.text(max_size=5),
    bad=st.sampled_from(sorted(BREAKING)),
    after=st.text(max_size=5),
)
def test_no_breaking_character_is_ever_signed(field: str, before: str, bad: str, after: str) -> None:
    """The SDK signs a newline verbatim, and the later fields shift; here such a value ends in an error."""
    shown = REQUEST.scope if field in ("account", "container") else REQUEST
    good = LEASE if field == "lease_id" else getattr(shown, field)
    for value in (before + bad + after, good + bad, bad + good):
        with pytest.raises(InvalidFieldError):
            _sign_with(field, value)


@given(field=st.sampled_from(["account", "container", "source_ip", "lease_id"]), value=st.text(max_size=70))
def test_what_is_signed_is_one_plain_line(field: str, value: str) -> None:
    """Any value is either refused or signed into plain printable ASCII that parses back to itself."""
    try:
        token = _sign_with(field, value)
    except InvalidFieldError:
        return
    assert token.isascii()
    assert token.isprintable()
    query = dict(parse_qsl(token))
    assert query["scid"] == (value if field == "lease_id" else LEASE)
    assert query.get("sip", "") == (value if field == "source_ip" else "")
    assert query["sr"] == "c"


@pytest.mark.parametrize("name", ["$root", "$web", "$logs", "abc", "a" * 63])
def test_every_container_name_azure_knows_can_be_signed(name: str) -> None:
    """The gate at signing refuses no container that the edge let in."""
    assert "sig=" in _sign_with("container", name)


def test_a_token_never_outlives_its_key() -> None:
    """Azure would take it for valid and then refuse it when the key ends."""
    assert sign(replace(REQUEST, expires=NOW + 7200))
    with pytest.raises(InvalidFieldError):
        sign(replace(REQUEST, expires=NOW + 7201))
    with pytest.raises(InvalidFieldError):
        sign(replace(REQUEST, expires=REQUEST.starts))


def test_a_key_signs_for_its_own_account_only() -> None:
    """A mixed-up key would give a token nobody can use, or one for the wrong account."""
    with pytest.raises(InvalidFieldError):
        _sign_with("account", "otheraccount")

    mixed_up = replace(_signing_key(), account="otheraccount")
    with pytest.raises(InvalidFieldError, match="belongs to another account"):
        sign(replace(REQUEST, scope=_scope("otheraccount"), key=mixed_up))


def test_tokens_that_are_signed_together_are_those_of_each_by_itself() -> None:
    """Nothing but its lease id tells one from the other, and one that must not be signed keeps all from being."""
    ids = ["one", "another", "third"]
    together = sas.sign(REQUEST, ids)
    assert together == [signed for each in ids for signed in sas.sign(REQUEST, [each])]
    assert len({signed.signature_sha256 for signed in together}) == 3
    with pytest.raises(InvalidFieldError):
        sas.sign(REQUEST, ["one", "an\nother"])


def test_each_field_shapes_the_signature() -> None:
    """Two requests that differ in anything signed have different signatures."""
    changes: list[tuple[str, Any]] = [
        ("container", "demo-other"),
        ("permissions", PermissionSet([Permission.READ])),
        ("starts", NOW),
        ("expires", NOW + 901),
        ("source_ip", "10.0.0.1"),
        ("lease_id", "another"),
    ]
    tokens = [sign(REQUEST)]
    for field, value in changes:
        tokens.append(_sign_with(field, value))
        # What was filled in for the one before is not taken for another.
        assert sign(REQUEST) == tokens[0]
    assert len({dict(parse_qsl(token))["sig"] for token in tokens}) == len(changes) + 1


_TEXTS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=3, max_size=24)


@given(
    account=_TEXTS,
    container=_TEXTS,
    permissions=st.sets(st.sampled_from(Permission), min_size=1),
    starts=st.integers(NOW - 900, NOW),
    life=st.integers(1, 7200),
    source_ip=st.sampled_from(["", "203.0.113.7", "203.0.113.1-203.0.113.9"]),
    lease_id=st.uuids(),
    correlated=st.booleans(),
    secret=st.binary(min_size=16, max_size=64),
    by_account_key=st.booleans(),
)
def test_tokens_are_those_of_the_azure_sdk(
    account: str,
    container: str,
    permissions: set[Permission],
    starts: int,
    life: int,
    source_ip: str,
    lease_id: UUID,
    correlated: bool,
    secret: bytes,
    by_account_key: bool,
) -> None:
    """Filling in a layout gives, byte for byte, what azure-storage-blob gives for the same fields."""
    key = _key()
    key.value = base64.b64encode(secret).decode()
    signing = _signing_key(key, account)
    if by_account_key:
        signing = SigningKey(account, 0.0, math.inf, sas.account_key_signer(account, Secret(key.value)))
    request = SasRequest(
        profile=replace(PROFILE, correlation_id=correlated),
        scope=_scope(account, container),
        permissions=PermissionSet(permissions),
        starts=starts,
        expires=min(starts + life, NOW + 7200),
        source_ip=source_ip,
        key=signing,
    )
    expected = generate_container_sas(
        account,
        container,
        **({"account_key": key.value} if by_account_key else {"user_delegation_key": key}),
        permission=request.permissions.sp,
        start=datetime.fromtimestamp(request.starts, UTC),
        expiry=datetime.fromtimestamp(request.expires, UTC),
        ip=source_ip or None,
        protocol="https",
        correlation_id=str(lease_id) if correlated and not by_account_key else None,
    )
    assert sign(request, str(lease_id)) == sign(request, str(lease_id)) == expected


def test_a_service_sas_has_these_fields_and_no_others() -> None:
    """A token of an account's key names no delegation key, no policy and no lease id, which they cannot hold."""
    key = SigningKey("demoaccount", 0.0, math.inf, sas.account_key_signer("demoaccount", Secret(_key().value or "")))
    query = dict(parse_qsl(sign(replace(REQUEST, key=key))))
    assert set(query) == {"st", "se", "sp", "spr", "sv", "sr", "sig"}
    assert (query["spr"], query["sr"]) == ("https", "c")
    assert _key().value not in repr((key, vars(key.material)))


def test_one_caller_with_many_addresses_does_not_keep_others_from_the_short_way() -> None:
    """Layouts are bounded, and those that were asked for last are there."""
    key = _signing_key()
    for number in range(sas._MOST_SHAPES + 10):
        sign(replace(REQUEST, key=key, source_ip=f"10.0.{number // 250}.{number % 250}"))
    sign(replace(REQUEST, key=key, scope=_scope(container="another")))
    shapes = key.material._layouts
    assert len(shapes) == sas._MOST_SHAPES
    assert any("another" in shape for shape in shapes)


def test_a_key_that_is_forgotten_takes_its_layouts_along() -> None:
    """What signs must not stay in memory after its connector went."""
    key = _signing_key()
    sign(replace(REQUEST, key=key))
    alive = weakref.ref(key.material)
    del key
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(("kind", "fields"), [(ScopeKind.BLOB, ("b", None)), (ScopeKind.DIRECTORY, ("d", "2"))])
@pytest.mark.parametrize(
    "path",
    ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/.", "%2e%2e", "a%2Fb", "a b", "a\n", "a\u00e9", "a\\b"],
)
def test_a_path_is_signed_as_it_is_or_not_at_all(kind: ScopeKind, fields: tuple[str, str | None], path: str) -> None:
    """The last gate looks for itself at what is put into the canonicalised resource; nothing is cleaned up there."""
    scope = replace(_scope(), kind=kind, path="models/a--b.x")
    query = dict(parse_qsl(sign(replace(REQUEST, scope=scope))))
    assert (query["sr"], query.get("sdd")) == fields
    with pytest.raises(InvalidFieldError):
        sign(replace(REQUEST, scope=replace(scope, path=path)))


def test_a_path_does_not_widen_or_narrow_a_container() -> None:
    """A scope that says container and has a path is a mistake of ours, and no token comes of it."""
    with pytest.raises(InvalidFieldError):
        sign(replace(REQUEST, scope=replace(_scope(), path="models")))


def test_paths_share_a_layout_and_not_a_signature() -> None:
    """Of a thousand blobs the SDK lays out one, and a path that looks like a placeholder is taken as it is."""
    key = _signing_key()
    paths = ["a", "b", "PLACEHOLDER_OF_THE_PATH", "1601-01-01T00.00.00Z", "PLACEHOLDER-OF-THE-LEASE-ID", "_/_", "a/_/_"]
    blobs = [replace(REQUEST, key=key, scope=replace(_scope(), kind=ScopeKind.BLOB, path=path)) for path in paths]
    assert len({dict(parse_qsl(sign(blob)))["sig"] for blob in blobs}) == len(paths)
    assert len(key.material._layouts) == 1
    directory = [replace(blob, scope=replace(blob.scope, kind=ScopeKind.DIRECTORY)) for blob in blobs]
    assert [dict(parse_qsl(sign(each)))["sdd"] for each in directory] == [str(path.count("/") + 1) for path in paths]
    assert len(key.material._layouts) == 4


@pytest.mark.parametrize(
    ("signed", "sent", "times", "untold"),
    [
        *((f"\n{part}", "", 1, "") for part in (sas._START, sas._EXPIRY, sas._ID, sas._HELD_PATH)),
        *(("", f"x={part}&", 1, "") for part in ("1601-01-01T00%3A00%3A00Z", "1601-01-02T00%3A00%3A00Z", sas._ID)),
        ("", f"x={sas._HELD_PATH}&", 1, ""),
        ("", "", 0, ""),
        ("", "", 2, ""),
        ("", "", 1, "\nmore"),
    ],
)
def test_an_sdk_that_lays_tokens_out_otherwise_signs_none(
    monkeypatch: pytest.MonkeyPatch, signed: str, sent: str, times: int, untold: str
) -> None:
    """What is filled in has just one place, and no more is signed than is told, or no token comes of it."""
    key = _signing_key()
    laid_out = sas._SDK[ScopeKind.BLOB]

    def other(scope: Scope, *, sts_hook: Callable[[str], None], **arguments: Any) -> str:
        told: list[str] = []
        query, separator, _ = laid_out(scope, sts_hook=told.append, **arguments).rpartition("sig=")
        to_sign = told[0] + signed
        for _ in range(times):
            sts_hook(to_sign)
        signature = key.material._signature(to_sign + untold)
        return sent + query + separator + sas._escaped(signature)

    monkeypatch.setattr(sas, "_SDK", {ScopeKind.BLOB: other})
    with pytest.raises(AssertionError, match="lays tokens out in a way that is not understood"):
        sign(replace(REQUEST, key=key, scope=replace(_scope(), kind=ScopeKind.BLOB, path="a")))
