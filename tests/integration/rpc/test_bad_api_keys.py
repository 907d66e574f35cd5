"""ApiKeyService with bad input."""

import asyncio
import hashlib
import time
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from support.failed_calls import Failure, as_failure, failure
from support.inproc import ADMIN_KEY, CONSUMER_KEY, Broker, bearer, make_key
from valetkey.v1 import api_key_service_pb2 as pb
from valetkey.v1 import common_pb2

pytestmark = pytest.mark.unmeasured

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
DAY = 24 * 3600
DIGEST = hashlib.sha256(make_key("N").encode()).digest()


def new_key(**changes: Any) -> pb.CreateApiKeyRequest:
    """Returns a request for a good key, with some fields changed; None leaves one out."""
    fields: dict[str, Any] = {
        "name": "new",
        "roles": [common_pb2.ROLE_VIEWER],
        "expire_time": Timestamp(seconds=int(time.time()) + DAY),
        "key_sha256": DIGEST,
        **changes,
    }
    return pb.CreateApiKeyRequest(**{name: value for name, value in fields.items() if value is not None})


async def created(broker: Broker, request: pb.CreateApiKeyRequest) -> Failure | None:
    """Returns what a refused request was told, or None."""
    try:
        await broker.api_keys.CreateApiKey(request, metadata=bearer(ADMIN_KEY))
    except grpc.aio.AioRpcError as error:
        return as_failure(error)
    return None


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "a/b"}),
        ("name", {"name": "../policy"}),
        ("roles", {"roles": [0]}),
        ("roles", {"roles": [99]}),
        ("key_sha256", {"key_sha256": b""}),
        ("key_sha256", {"key_sha256": b"x" * 31}),
        ("key_sha256", {"key_sha256": make_key("N").encode()}),
        ("key_sha256", {"key_sha256": hashlib.sha256(CONSUMER_KEY.encode()).digest()}),
        ("expire_time", {"expire_time": None}),
        ("expire_time", {"expire_time": Timestamp()}),
        ("expire_time", {"expire_time": Timestamp(seconds=int(time.time()) - 1)}),
        ("expire_time", {"expire_time": Timestamp(seconds=int(time.time()) + 367 * DAY)}),
        ("expire_time", {"expire_time": Timestamp(seconds=2**63 - 1)}),
        ("expire_time", {"expire_time": Timestamp(seconds=-(2**63))}),
        ("expire_time", {"expire_time": Timestamp(seconds=int(time.time()) + DAY, nanos=-1)}),
    ],
)
async def test_bad_key(broker: Broker, field: str, changes: dict[str, Any]) -> None:
    """A key that says nothing definite, or too much, is refused by the field that is wrong; nothing is stored."""
    writes = broker.store.calls["write"]
    told = await created(broker, new_key(**changes))
    assert told is not None
    assert told.short == INVALID
    assert told.metadata["field"] == field
    assert broker.store.calls["write"] == writes


async def test_name_taken(broker: Broker) -> None:
    """The name of a living key is refused, and the key that has it goes on working."""
    told = await created(broker, new_key(name="trainer"))
    assert told is not None
    assert told.short == (grpc.StatusCode.ALREADY_EXISTS, "API_KEY_EXISTS")
    assert told.metadata == {"api_key": "trainer"}


async def test_same_name_at_once(broker: Broker) -> None:
    """Of two admins who make a key of one name at once, one wins and the other is told."""
    other = hashlib.sha256(make_key("M").encode()).digest()
    told = await asyncio.gather(created(broker, new_key()), created(broker, new_key(key_sha256=other)))
    (loser,) = [failed for failed in told if failed is not None]
    assert loser.short == (grpc.StatusCode.ALREADY_EXISTS, "API_KEY_EXISTS")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("nobody", (grpc.StatusCode.NOT_FOUND, "API_KEY_NOT_FOUND")), ("", INVALID), ("a\nb", INVALID)],
)
async def test_revoking_what_is_not_there(broker: Broker, name: str, expected: Any) -> None:
    """Revoking an unknown key is no success."""
    call = broker.api_keys.RevokeApiKey(pb.RevokeApiKeyRequest(name=name), metadata=bearer(ADMIN_KEY))
    assert (await failure(call)).short == expected


async def test_name_may_be_used_again_after_revocation(broker: Broker) -> None:
    """A revoked key's name is free, and its secret stays refused."""
    await broker.api_keys.RevokeApiKey(pb.RevokeApiKeyRequest(name="trainer"), metadata=bearer(ADMIN_KEY))
    assert await created(broker, new_key(name="trainer")) is None
    request = pb.ListApiKeysRequest()
    assert (await failure(broker.api_keys.ListApiKeys(request, metadata=bearer(CONSUMER_KEY)))).reason == (
        "CREDENTIALS_INVALID"
    )
