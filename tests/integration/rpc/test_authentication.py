"""Who is let in: wrong, expired, missing, doubled credentials, each with its code, reason and words."""

from pathlib import Path

import grpc
import pytest

from support.failed_calls import failure
from support.fake_store import FakeStateStore
from support.inproc import (
    ADMIN_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    Broker,
    api_key_document,
    bearer,
    make_key,
    new_connector,
    running_broker,
    seed_keys,
)
from support.waiting import eventually
from valetkey.v1 import api_key_service_pb2
from valetkey.v1.token_service_pb2 import IssueTokenRequest

pytestmark = pytest.mark.unmeasured

REQUEST = IssueTokenRequest(resource_id="demo", permissions=[1])
MISSING = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")
INVALID = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")


async def test_missing_key(stocked: Broker) -> None:
    """A call without credentials is told what to send."""
    refused = await failure(stocked.tokens.IssueToken(REQUEST))
    assert refused.short == MISSING
    assert "authorization: Bearer" in refused.message
    assert refused.metadata == {}


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {make_key('W')}",
        f"bearer{CONSUMER_KEY}",
        f"Bearer  {CONSUMER_KEY}",
        f"Bearer {CONSUMER_KEY}x",
        f"Bearer {CONSUMER_KEY[:-1]}",
        f"Basic {CONSUMER_KEY}",
        CONSUMER_KEY,
        "Bearer",
        "",
        "Bearer " + "a" * 8000,
    ],
    ids=["unknown", "lower case", "two spaces", "longer", "shorter", "basic", "bare", "no key", "empty", "huge"],
)
async def test_wrong_key(stocked: Broker, header: str) -> None:
    """Anything but one exact header with a known key is refused, in words that do not repeat it."""
    refused = await failure(stocked.tokens.IssueToken(REQUEST, metadata=(("authorization", header),)))
    assert refused.short == INVALID
    assert refused.metadata == {}
    assert CONSUMER_KEY[:-1] not in refused.message
    assert make_key("W") not in refused.message


@pytest.mark.parametrize("second", [CONSUMER_KEY, ADMIN_KEY, make_key("W")], ids=["same", "better", "unknown"])
async def test_duplicate_authorization_headers(stocked: Broker, second: str) -> None:
    """Two headers are refused: a proxy and the broker must not pick different ones."""
    refused = await failure(stocked.tokens.IssueToken(REQUEST, metadata=(*bearer(CONSUMER_KEY), *bearer(second))))
    assert refused.short == INVALID
    assert "exactly one" in refused.message


async def test_binary_header_is_not_a_key(stocked: Broker) -> None:
    """`authorization-bin` is another header: with it alone a call is one without a key."""
    refused = await failure(
        stocked.tokens.IssueToken(REQUEST, metadata=(("authorization-bin", f"Bearer {CONSUMER_KEY}".encode()),))
    )
    assert refused.short == MISSING


async def test_expired_key(tmp_path: Path) -> None:
    """An expired key is told from a wrong one, with the moment it ended."""
    store = FakeStateStore()
    await seed_keys(store)
    old = make_key("E")
    document = api_key_document(old, "admin", expires="2026-05-01T12:00:00+00:00")
    await store.write("api-keys/old", document, expected=0)
    async with running_broker(tmp_path, store=store) as broker:
        await broker.ready()
        refused = await failure(broker.tokens.IssueToken(REQUEST, metadata=bearer(old)))
    assert refused.short == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_EXPIRED")
    assert refused.metadata == {"expired_at": "2026-05-01T12:00:00+00:00"}
    assert "2026-05-01T12:00:00" in refused.message


async def test_key_expires_while_the_broker_runs(tmp_path: Path) -> None:
    """The expiry is looked at on each call, not when the key is read."""
    now = 1_800_000_000.0
    store = FakeStateStore()
    key = make_key("T")
    document = api_key_document(key, "admin", expires="2027-01-15T09:00:00+00:00")
    await store.write("api-keys/brief", document, expected=0)
    async with running_broker(tmp_path, store=store, clock=lambda: now) as broker:
        await broker.ready()
        request = api_key_service_pb2.ListApiKeysRequest()
        await broker.api_keys.ListApiKeys(request, metadata=bearer(key))
        now += 3600
        refused = await failure(broker.api_keys.ListApiKeys(request, metadata=bearer(key)))
    assert refused.reason == "CREDENTIALS_EXPIRED"


async def test_key_revoked_by_another_replica(stocked: Broker) -> None:
    """A key that another replica revoked is refused within the polling interval."""
    await stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))
    await stocked.store.write("api-keys/trainer", {"deleted": True, "deleted_by": "key:admin"}, expected=1)
    generation = await stocked.store.read("generation")
    assert generation is not None
    counter = generation.data["counter"] + 1
    journal = [*generation.data["journal"], [counter, "api-keys/trainer"]]
    await stocked.store.write("generation", {"counter": counter, "journal": journal}, expected=generation.version)
    polls = stocked.store.calls["read"]
    await eventually(lambda: stocked.store.calls["read"] >= polls + 3)
    refused = await failure(stocked.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))
    assert refused.short == INVALID


async def test_refused_callers_reach_neither_cloud_nor_store(broker: Broker) -> None:
    """Nothing is asked of Azure or written to Vault for a caller who is not allowed."""
    before = broker.store.calls["write"]
    await failure(broker.connectors.CreateConnector(new_connector()))
    await failure(broker.connectors.CreateConnector(new_connector(), metadata=bearer(make_key("W"))))
    await failure(broker.connectors.CreateConnector(new_connector(), metadata=bearer(CONSUMER_KEY)))
    assert not broker.cloud.calls
    assert broker.store.calls["write"] == before
    await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
    assert broker.cloud.calls
