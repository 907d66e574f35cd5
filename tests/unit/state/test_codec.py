"""Documents in Vault: what was written is what is read, after a start as by other replicas, down to the last field."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from support.core import CLIENT, NOW, TENANT, make_api_key, make_connector, make_grant, make_secret
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.model import ApiKey, AzureConfig, Connector, ConsumerRole, Grant, NamedSecret, Role
from valetkey_broker.model.api_key import EarlierDigest
from valetkey_broker.model.connector import CredentialOrigin, PreviousWay, RotationSchedule
from valetkey_broker.state.codec import (
    decode_api_key,
    decode_connector,
    decode_grant,
    decode_secret,
    encode_api_key,
    encode_connector,
    encode_grant,
    encode_secret,
)

_THEN = datetime.fromtimestamp(NOW + 60, UTC)
_ORIGIN = CredentialOrigin(_THEN, "key:ops", "rotation-1", 2)
_PREVIOUS = PreviousWay("account-key", AzureConfig(TENANT, CLIENT, "dev", storage_account="acc"), _THEN, _ORIGIN)
_SCHEDULE = RotationSchedule(86_400, "key:ops")
_SECRET = replace(
    make_secret(version=3, account="acc"),
    previous_credential_version=2,
    expires_at=_THEN,
    rotation="rotation-1",
    previous=_PREVIOUS,
    rotation_schedule=_SCHEDULE,
    taken_from=1,
)
_OF_ITS_OWN = replace(
    make_connector("single", "demo", account="acc", version=4, storage_account="acc"),
    keys_not_before=int(NOW),
    previous_credential_version=3,
    description="words",
    labels=(("team", "vision"), ("tier", "1")),
    expires_at=_THEN,
    expires_skew_tolerance=0,
    unverified=True,
    origin=_ORIGIN,
    previous=_PREVIOUS,
    rotation_schedule=_SCHEDULE,
)
_SHARING = replace(
    make_connector("sharing", version=0),
    auth_method="",
    azure=AzureConfig("", "", "", storage_account="acc"),
    resource_type=None,
    secret_uid=_SECRET.uid,
    keys_not_before=7,
)


def stored(document: dict[str, Any]) -> dict[str, Any]:
    """Returns a document as Vault gives it back."""
    read: dict[str, Any] = json.loads(json.dumps(document))
    return read


@pytest.mark.parametrize("connector", [make_connector(), _OF_ITS_OWN, _SHARING], ids=lambda each: each.name)
def test_a_connector_is_read_as_it_was_written(connector: Connector) -> None:
    """A field that is lost may be since when keys count, which account it is for, or that nobody verified it."""
    document = stored(encode_connector(connector))
    assert decode_connector(connector.name, document, 5, AUTH_METHODS) == replace(connector, version=5)


def test_a_connector_says_only_what_it_says_itself() -> None:
    """What works with a named secret is stored without what is the secret's: that changes in one place."""
    assert encode_connector(_SECRET.used_by(_SHARING)) == encode_connector(_SHARING)


@pytest.mark.parametrize("secret", [make_secret(version=1), _SECRET])
def test_a_named_secret_is_read_as_it_was_written(secret: NamedSecret) -> None:
    """When it ends, how it logged in before and how often it is rotated are part of it."""
    assert decode_secret(secret.name, stored(encode_secret(secret)), AUTH_METHODS) == secret


_ROTATED = replace(
    make_api_key(roles=frozenset({Role.ADMIN, Role.VIEWER})),
    earlier=(EarlierDigest(b"1" * 32, _THEN), EarlierDigest(b"2" * 32, datetime.fromtimestamp(NOW, UTC))),
    rotated_at=_THEN,
    rotated_by="key:ops",
)


@pytest.mark.parametrize("key", [make_api_key(), _ROTATED])
def test_an_api_key_is_read_as_it_was_written(key: ApiKey) -> None:
    """Its earlier secrets are good for a while still, and end each at its own time."""
    assert decode_api_key(key.name, stored(encode_api_key(key))) == key


_GRANT = replace(
    make_grant(
        "narrow",
        make_connector(),
        make_connector("other"),
        principals=("key:a", "spiffe://x.invalid/*"),
        containers=("demo", "ml-*"),
        permissions="rlw",
        prefixes=("a", "b/c"),
        attributes={"namespace": "ml-*", "team": "vision"},
        max_ttl=60,
        source_ip="203.0.113.1-203.0.113.9",
        expires=NOW + 60,
    ),
    note="words",
    labels=(("team", "vision"),),
)


@pytest.mark.parametrize(
    "grant",
    [
        make_grant("plain", make_connector()),
        _GRANT,
        replace(_GRANT, permissions=make_grant(permissions="rl").permissions, consumer_role=ConsumerRole.DEPLOYER),
    ],
)
def test_a_grant_is_read_as_it_was_written(grant: Grant) -> None:
    """Whatever narrows it, narrows it after a restart, too."""
    assert decode_grant(grant.name, stored(encode_grant(grant)), 5) == replace(grant, version=5)


@pytest.mark.parametrize("field", sorted(encode_grant(_GRANT)))
def test_a_grant_that_lacks_a_field_is_none(field: str) -> None:
    """Leaving out what narrows it would widen it; only labels came later."""
    document = stored(encode_grant(_GRANT))
    del document[field]
    if field == "labels":
        assert decode_grant("narrow", document, 5).labels == ()
        return
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_grant("narrow", document, 5)


@pytest.mark.parametrize(
    "change",
    [
        *({name: "demo"} for name in ("principals", "connectors", "containers", "prefixes")),
        *({name: []} for name in ("principals", "connectors", "containers")),
        *({"max_ttl": wrong} for wrong in (True, 0, "60", 1.5)),
        {"permissions": "rx"},
        {"consumer_role": "king"},
        {"expires_at": "2027-01-15T08:00:00"},
    ],
)
def test_a_malformed_grant_is_none(change: dict[str, Any]) -> None:
    """A text where a list belongs would be a grant for its letters, and what nobody understands would be no limit."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_grant("narrow", {**stored(encode_grant(_GRANT)), **change}, 5)


@pytest.mark.parametrize(
    "change",
    [
        {"resource_type": None},
        {"resource_type": "a-later-one"},
        {"auth_method": "a-later-one"},
        {"auth_method": ""},
        {"type": "a-later-one"},
        {"azure": {**encode_connector(_OF_ITS_OWN)["azure"], "a_later_field": "x"}},
        {"description": None},
        *({"expires_skew_tolerance": wrong} for wrong in (True, -1, "60")),
    ],
)
def test_a_connector_of_which_something_is_not_understood_is_none(change: dict[str, Any]) -> None:
    """Passing it over could have the connector lead elsewhere, or to more than one container."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_connector("single", {**stored(encode_connector(_OF_ITS_OWN)), **change}, 5, AUTH_METHODS)


@pytest.mark.parametrize("change", [{"earlier": "x"}, {"roles": ["king"]}, {"sha256": "x"}, {"rotated_by": None}])
def test_a_malformed_api_key_is_none(change: dict[str, Any]) -> None:
    """Nobody calls by a key of which a part is not understood."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_api_key("trainer", {**stored(encode_api_key(_ROTATED)), **change})
