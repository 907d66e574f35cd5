"""Who does one thing after another is not told by another replica, or worker, that the first was never done."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from support.failed_calls import failure
from support.inproc import (
    ADMIN_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    VIEWER_KEY,
    Broker,
    bearer,
    make_key,
    new_connector,
    running_broker,
)
from valetkey.v1 import api_key_service_pb2 as key_pb
from valetkey.v1 import connector_service_pb2 as connector_pb
from valetkey.v1 import expiry_service_pb2 as expiry_pb
from valetkey.v1 import grant_service_pb2 as grant_pb
from valetkey.v1 import resource_service_pb2 as resource_pb
from valetkey.v1 import revocation_service_pb2 as revocation_pb
from valetkey.v1 import secret_service_pb2 as secret_pb
from valetkey.v1 import token_service_pb2 as token_pb
from valetkey_broker.errors import BrokerError, Reason

ADMIN, OPERATOR, VIEWER, CONSUMER = map(bearer, (ADMIN_KEY, OPERATOR_KEY, VIEWER_KEY, CONSUMER_KEY))
NEW_KEY = make_key("N")
NAME = "azure-blob-demo"
NEVER = {"poll_seconds": 3600.0}
WANTED = token_pb.IssueTokenRequest(resource_id="demo", permissions=[1])


@dataclass
class Two:
    """Two brokers on one Vault, neither of which polls it any more."""

    one: Broker
    other: Broker


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    async with (
        running_broker(tmp_path / "one", vault=NEVER) as one,
        running_broker(tmp_path / "other", vault=NEVER, store=one.store, cloud=one.cloud) as other,
    ):
        await one.ready()
        await one.connectors.CreateConnector(new_connector(), metadata=OPERATOR)
        await other.ready()
        yield Two(one, other)


Call = Callable[[Broker], Awaitable[Any]]


def get_connector(name: str = NAME) -> Call:
    request = connector_pb.GetConnectorRequest(name=name)
    return lambda broker: broker.connectors.GetConnector(request, metadata=VIEWER)


def register(name: str = "another", **more: str) -> Call:
    return lambda broker: broker.connectors.CreateConnector(new_connector(name, **more), metadata=OPERATOR)


def delete(broker: Broker) -> Awaitable[Any]:
    return broker.connectors.DeleteConnector(connector_pb.DeleteConnectorRequest(name=NAME), metadata=OPERATOR)


def verify(broker: Broker) -> Awaitable[Any]:
    return broker.connectors.VerifyConnector(connector_pb.VerifyConnectorRequest(name="another"), metadata=OPERATOR)


def describe(broker: Broker) -> Awaitable[Any]:
    request = connector_pb.UpdateConnectorRequest(name=NAME, description="changed")
    return broker.connectors.UpdateConnector(request, metadata=OPERATOR)


def allow(**more: Any) -> Call:
    return lambda broker: broker.allow(**more)


def get_grant(broker: Broker) -> Awaitable[Any]:
    return broker.grants.GetGrant(grant_pb.GetGrantRequest(name="training"), metadata=ADMIN)


def list_grants(broker: Broker) -> Awaitable[Any]:
    return broker.grants.ListGrants(grant_pb.ListGrantsRequest(), metadata=ADMIN)


def explain(broker: Broker) -> Awaitable[Any]:
    request = grant_pb.ExplainAccessRequest(resource_id="demo", permissions=[1])
    return broker.grants.ExplainAccess(request, metadata=CONSUMER)


def list_resources(broker: Broker) -> Awaitable[Any]:
    return broker.resources.ListResources(resource_pb.ListResourcesRequest(), metadata=CONSUMER)


def issue(broker: Broker) -> Awaitable[Any]:
    return broker.tokens.IssueToken(WANTED, metadata=CONSUMER)


def issue_two(broker: Broker) -> Awaitable[Any]:
    return broker.tokens.IssueTokens(token_pb.IssueTokensRequest(requests=[WANTED, WANTED]), metadata=CONSUMER)


async def watch(broker: Broker) -> Any:
    stream = broker.tokens.WatchToken(token_pb.WatchTokenRequest(request=WANTED), metadata=CONSUMER)
    first = await stream.read()
    stream.cancel()
    return first


def create_key(broker: Broker) -> Awaitable[Any]:
    end = Timestamp()
    end.GetCurrentTime()
    end.seconds += 3600
    digest = hashlib.sha256(NEW_KEY.encode()).digest()
    request = key_pb.CreateApiKeyRequest(name="new", roles=[3], key_sha256=digest, expire_time=end)
    return broker.api_keys.CreateApiKey(request, metadata=ADMIN)


def list_by(key: str) -> Call:
    return lambda broker: broker.connectors.ListConnectors(connector_pb.ListConnectorsRequest(), metadata=bearer(key))


def list_keys(broker: Broker) -> Awaitable[Any]:
    return broker.api_keys.ListApiKeys(key_pb.ListApiKeysRequest(), metadata=ADMIN)


def list_expiring(broker: Broker) -> Awaitable[Any]:
    return broker.expiry.ListExpiring(expiry_pb.ListExpiringRequest(), metadata=VIEWER)


def create_secret(broker: Broker) -> Awaitable[Any]:
    plain = new_connector()
    request = secret_pb.CreateSecretRequest(
        name="az_secret",
        type=plain.type,
        auth_method=plain.auth_method,
        azure=plain.azure,
        azure_secret=plain.azure_secret,
    )
    return broker.secrets.CreateSecret(request, metadata=OPERATOR)


def get_secret(broker: Broker) -> Awaitable[Any]:
    return broker.secrets.GetSecret(secret_pb.GetSecretRequest(name="az_secret"), metadata=VIEWER)


@pytest.mark.parametrize(
    ("done", "asked", "told"),
    [
        (register(), get_connector("another"), "another"),
        (register(), verify, "az://demo"),
        (register(), allow(connectors=("another",)), "another"),
        (describe, get_connector(), "changed"),
        (allow(), get_grant, "training"),
        (allow(), list_grants, "training"),
        (allow(), explain, "allowed: true"),
        (allow(), list_resources, "az://demo"),
        (allow(), issue, "sas_token"),
        (allow(), issue_two, "sas_token"),
        (allow(), watch, "sas_token"),
        (create_key, list_by(NEW_KEY), NAME),
        (create_key, list_keys, '"new"'),
        (create_key, list_expiring, '"new"'),
        (create_secret, get_secret, "az_secret"),
        (create_secret, register(authentication_secret="az_secret", storage_account="demoaccount"), "az_secret"),
        (delete, register(NAME), NAME),
    ],
)
async def test_what_was_done_is_known(two: Two, done: Call, asked: Call, told: str) -> None:
    """What comes next knows of it, wherever it lands: in what it shows, needs, or finds in its way."""
    await done(two.one)
    assert told in str(await asked(two.other))


async def test_what_is_gone_is_not_shown(two: Two) -> None:
    """What somebody deleted is neither there nor counted among what a grant may name."""
    await delete(two.one)
    assert (await failure(get_connector()(two.other))).reason == "CONNECTOR_NOT_FOUND"
    assert (await failure(two.other.allow())).reason == "INVALID_FIELD"


async def test_a_key_that_was_revoked_or_rotated_is_of_no_use(two: Two) -> None:
    """Who takes a key away at one replica has nobody look around by it, or change anything, at another."""
    await create_key(two.one)
    assert NAME in str(await list_by(NEW_KEY)(two.other))
    rotated = key_pb.RotateApiKeyRequest(name="new", key_sha256=hashlib.sha256(make_key("M").encode()).digest())
    rotated.overlap.SetInParent()
    await two.one.api_keys.RotateApiKey(rotated, metadata=ADMIN)
    assert (await failure(list_by(NEW_KEY)(two.other))).reason == "CREDENTIALS_INVALID"
    assert NAME in str(await list_by(make_key("M"))(two.other))
    await two.one.api_keys.RevokeApiKey(key_pb.RevokeApiKeyRequest(name="ops"), metadata=ADMIN)
    assert (await failure(delete(two.other))).reason == "CREDENTIALS_INVALID"
    assert NAME in str(await get_connector()(two.other))


async def test_what_was_revoked_and_lifted(two: Two) -> None:
    """A revocation is listed, and once lifted keeps nobody from a token."""
    await two.one.allow()
    await issue(two.one)
    wanted = revocation_pb.CreateRevocationRequest(
        name="r-1", target=revocation_pb.RevocationTarget(principal="key:trainer")
    )
    await two.one.revocations.CreateRevocation(wanted, metadata=OPERATOR)
    listing = revocation_pb.ListRevocationsRequest(name="r-1")
    listed = await two.other.revocations.ListRevocations(listing, metadata=OPERATOR)
    assert [each.name for each in listed.revocations] == ["r-1"]
    assert (await failure(issue(two.other))).reason == "ACCESS_REVOKED"
    lifting = revocation_pb.LiftRevocationRequest(name="r-1")
    await two.one.revocations.LiftRevocation(lifting, metadata=OPERATOR)
    await issue(two.other)


async def test_with_vault_away_memory_answers(two: Two) -> None:
    """Reading goes on while Vault is away: what was known is shown, and tokens are refused as by what was known."""
    await two.other.allow()
    two.other.store.fail_with = BrokerError(Reason.VAULT_UNAVAILABLE, "away", {"cause": "sealed"})
    assert "training" in str(await list_grants(two.other))
    await issue(two.other)
    refused = token_pb.IssueTokenRequest(resource_id="models", permissions=[1])
    told = await failure(two.other.tokens.IssueToken(refused, metadata=CONSUMER))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "RESOURCE_DENIED")
