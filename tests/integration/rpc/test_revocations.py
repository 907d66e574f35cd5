"""RevocationService over the wire: streams end, tokens are refused until it is lifted, keys die and that is proved."""

import asyncio
from typing import Any

import grpc
import pytest

from support.failed_calls import failure as failed
from support.fake_maker import FakeMaker
from support.inproc import ADMIN_KEY, CONSUMER_KEY, OPERATOR_KEY, VIEWER_KEY, Broker, api_key_document, bearer, make_key
from valetkey.async_client import AsyncClient
from valetkey.revocation_values import RevocationTarget
from valetkey.v1 import connector_service_pb2, ledger_service_pb2, token_service_pb2
from valetkey.v1 import revocation_service_pb2 as pb
from valetkey_broker.errors import Reason
from valetkey_broker.model import EventFilter, EventKind
from valetkey_devstack.azurite import new_key

OTHER_KEY = make_key("X")
DENIED = grpc.StatusCode.PERMISSION_DENIED


async def failure(call: Any) -> tuple[grpc.StatusCode, str]:
    told = await failed(call)
    return told.code, told.reason


def wanted() -> token_service_pb2.IssueTokenRequest:
    return token_service_pb2.IssueTokenRequest(resource_id="demo", permissions=[1])


async def issue(broker: Broker, key: str = CONSUMER_KEY) -> token_service_pb2.IssueTokenResponse:
    return await broker.tokens.IssueToken(wanted(), metadata=bearer(key))


def watch(broker: Broker, key: str = CONSUMER_KEY) -> Any:
    return broker.tokens.WatchToken(token_service_pb2.WatchTokenRequest(request=wanted()), metadata=bearer(key))


async def read(stream: Any) -> token_service_pb2.WatchTokenResponse:
    async with asyncio.timeout(30):
        message: token_service_pb2.WatchTokenResponse = await stream.read()
        return message


async def revoke(broker: Broker, name: str = "r-1", *, hard: bool = False, **target: str) -> pb.Revocation:
    request = pb.CreateRevocationRequest(name=name, target=pb.RevocationTarget(**target), reason="leaked", hard=hard)
    return (await broker.revocations.CreateRevocation(request, metadata=bearer(OPERATOR_KEY))).revocation


async def shown(broker: Broker, name: str = "r-1") -> pb.Revocation:
    request = pb.ListRevocationsRequest(name=name)
    return (await broker.revocations.ListRevocations(request, metadata=bearer(OPERATOR_KEY))).revocations[0]


async def states(broker: Broker) -> dict[str, int]:
    """Returns the state of each lease by its principal; the newest counts."""
    request = ledger_service_pb2.ListLeasesRequest()
    leases = (await broker.ledger.ListLeases(request, metadata=bearer(OPERATOR_KEY))).leases
    return {lease.principal: lease.state for lease in reversed(leases)}


async def test_what_is_revoked_is_refused_until_it_is_lifted(stocked: Broker) -> None:
    """A stream ends with whom to ask; further tokens are refused; two operators do it once; lifting gives it back."""
    broker = stocked
    stream = watch(broker)
    lease = (await read(stream)).token
    for role in (VIEWER_KEY, CONSUMER_KEY):
        request = pb.PreviewRevocationRequest(target=pb.RevocationTarget(principal="key:trainer"))
        assert await failure(broker.revocations.PreviewRevocation(request, metadata=bearer(role))) == (
            DENIED,
            "ROLE_REQUIRED",
        )
    made = await revoke(broker, lease_id=lease.lease_id)
    assert (made.state, made.covered, made.target.principal) == (pb.REVOCATION_STATE_WAITING, 1, "key:trainer")
    assert made.covered_until == lease.expire_time
    end = (await read(stream)).end
    assert end.reason == token_service_pb2.WATCH_END_REASON_ACCESS_REVOKED
    assert "revoked by key:ops: leaked. Ask them" in end.message
    assert await failure(issue(broker)) == (DENIED, "ACCESS_REVOKED")
    assert await states(broker) == {"key:trainer": ledger_service_pb2.LEASE_STATE_WAITING}
    assert (await revoke(broker, lease_id=lease.lease_id)).name == "r-1", "repeated, under its own name"
    assert await failure(revoke(broker, "r-2", lease_id=lease.lease_id)) == (grpc.StatusCode.ABORTED, "CONFLICT")
    lift = pb.LiftRevocationRequest(name="r-1")
    assert await failure(broker.revocations.LiftRevocation(lift, metadata=bearer(VIEWER_KEY))) == (
        DENIED,
        "ROLE_REQUIRED",
    )
    lifted = await broker.revocations.LiftRevocation(lift, metadata=bearer(ADMIN_KEY))
    assert (lifted.revocation.state, lifted.revocation.lifted_by) == (pb.REVOCATION_STATE_LIFTED, "key:admin")
    await issue(broker)
    assert await failure(broker.revocations.LiftRevocation(lift, metadata=bearer(ADMIN_KEY))) == (
        grpc.StatusCode.NOT_FOUND,
        "REVOCATION_NOT_FOUND",
    )
    refused = await broker.core.ledger.events(EventFilter(kind=EventKind.DENIED))
    assert "ACCESS_REVOKED" in {stored.event.reason for stored in refused}
    changes = await broker.core.ledger.events(EventFilter(kind=EventKind.ADMIN_CHANGE))
    assert [s.event.object for s in changes if s.event.object.startswith("revocations/")] == ["revocations/r-1"] * 3


async def test_hard_ends_what_is_out_and_others_get_fresh_tokens(stocked: Broker) -> None:
    """Azure acts late: revoking until it refuses a token of before; new keys begin no earlier than the revocation."""
    broker = stocked
    await broker.store.write("api-keys/other", api_key_document(OTHER_KEY), expected=0)
    await broker.core.repository.load()
    await broker.allow("key:other", name="others")
    await issue(broker)
    stream = watch(broker, OTHER_KEY)
    first = (await read(stream)).token
    broker.cloud.acts_on_orders = False
    broker.cloud.fail("revoke_delegation_keys", Reason.CLOUD_PERMISSION_MISSING)
    made = await revoke(broker, hard=True, principal="key:trainer")
    assert made.state == pb.REVOCATION_STATE_REVOKING
    work = broker.core.revoking.keys
    await work.look(at_once=True)
    pending = (await shown(broker)).keys[0]
    assert (pending.state, bool(pending.error)) == (pb.KEY_REVOCATION_STATE_PENDING, True)
    assert await failure(issue(broker)) == (DENIED, "ACCESS_REVOKED")
    broker.cloud.heal()
    await work.look(at_once=True)
    assert broker.cloud.ordered == ["demoaccount"]
    ordered = (await shown(broker)).keys[0]
    assert (ordered.state, ordered.covered, ordered.others) == (pb.KEY_REVOCATION_STATE_REVOKING, 1, 1)
    fresh = (await read(stream)).token
    assert fresh.lease_id != first.lease_id, "at once, long before the first one ends"
    assert broker.cloud.keys[-1].starts >= ordered.revoke_time.seconds
    assert fresh.start_time.seconds >= ordered.revoke_time.seconds
    await work.look(at_once=True)
    await work.look(at_once=True)
    assert (await shown(broker)).state == pb.REVOCATION_STATE_REVOKING, "storage still accepts a token of before"
    assert (await states(broker))["key:trainer"] == ledger_service_pb2.LEASE_STATE_REVOKING
    broker.cloud.revoke_keys()
    broker.cloud.revoked.discard(broker.cloud.keys[-1].material)
    for _ in range(3):
        await work.look(at_once=True)
    proved = await shown(broker)
    assert (proved.state, proved.keys[0].state) == (pb.REVOCATION_STATE_REVOKED, pb.KEY_REVOCATION_STATE_REVOKED)
    now = await states(broker)
    assert now == {
        "key:trainer": ledger_service_pb2.LEASE_STATE_REVOKED,
        "key:other": ledger_service_pb2.LEASE_STATE_LIVE,
    }
    (hit,) = await broker.core.ledger.events(EventFilter(kind=EventKind.KEYS_REVOKED))
    assert {**hit.event.details, "seconds_left": ""} == {
        "account": "demoaccount",
        "covered": "1",
        "others": "1",
        "others_of": "key:other",
        "seconds_left": "",
    }
    assert len(await broker.core.ledger.events(EventFilter(kind=EventKind.REVOCATION_PROVED))) == 1
    refused = await broker.core.ledger.events(EventFilter(kind=EventKind.CHANGE_FAILED))
    # The broker looks by itself, too, and may have been refused before the test's own look was.
    assert {stored.event.reason for stored in refused} == {"CLOUD_PERMISSION_MISSING"}


@pytest.mark.parametrize(
    ("target", "hard", "told"),
    [
        ({}, False, "target"),
        ({"lease_id": "nope"}, False, "lease_id"),
        ({"lease_id": "nope", "principal": "key:a"}, False, "lease_id"),
        ({"principal": "key:nobody"}, False, "target"),
        ({"resource_id": "az://demo/.."}, False, "resource_id"),
    ],
)
async def test_slips_revoke_nothing(stocked: Broker, target: dict[str, str], hard: bool, told: str) -> None:
    """A target that means nothing would protect nobody, and whoever named it would believe otherwise."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await revoke(stocked, hard=hard, **target)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith(f"{told}:")
    assert stocked.core.memory.revocations == {}


async def test_an_accounts_own_key_is_rotated_by_the_connector_that_is_named(stocked: Broker) -> None:
    """The preview says what it would hit; the revocation shows the rotation, which the ledger has with its id."""
    broker = stocked
    maker = broker.cloud.maker
    assert isinstance(maker, FakeMaker)
    maker.keys["demoaccount"] = {"key1": new_key(), "key2": new_key()}
    request = connector_service_pb2.CreateConnectorRequest(
        name="by-key",
        type=connector_service_pb2.CONNECTOR_TYPE_AZURE,
        auth_method=connector_service_pb2.AUTH_METHOD_ACCOUNT_KEY,
        resource_type=1,
        azure=connector_service_pb2.AzureConfig(storage_account="demoaccount"),
        azure_secret=connector_service_pb2.AzureSecret(account_key=maker.keys["demoaccount"]["key1"].reveal()),
    )
    await broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))
    await broker.allow(name="by-key", connectors=["by-key"])
    token = token_service_pb2.IssueTokenRequest(resource_id="demo", permissions=[1], connector="by-key")
    await broker.tokens.IssueToken(token, metadata=bearer(CONSUMER_KEY))
    ca = broker.settings.server.tls_cert_file.parent / "ca.pem"
    async with AsyncClient(broker.endpoint, api_key=OPERATOR_KEY, ca_file=ca) as client:
        target = RevocationTarget(connector="by-key")
        (signer,) = (await client.preview_revocation(target)).signers
        assert (signer.kind, "Name with --by a connector" in signer.obstacle) == ("account-key", True)
        (signer,) = (await client.preview_revocation(target, through="azure-blob-demo")).signers
        assert (signer.obstacle, signer.rotates, signer.by) == ("", ("connectors/by-key",), "azure-blob-demo")
        made = await client.create_revocation(target, hard=True, through="azure-blob-demo")
        assert [(keys.kind, keys.rotates, keys.state) for keys in made.keys] == [
            ("account-key", "connectors/by-key", "pending")
        ]
        await broker.core.revoking.keys.look(at_once=True)
        (keys,) = (await client.get_revocation(made.name)).keys
        assert keys.state == "revoking"
        assert keys.rotation_state in ("obtaining", "proving", "switching", "waiting")
        begun = await client.get_rotation("by-key")
        assert (begun.source, begun.started_by) == ("account-key", "key:ops")
    changes = await broker.core.ledger.events(EventFilter(kind=EventKind.ADMIN_CHANGE))
    assert made.name in {stored.event.details.get("revocation") for stored in changes}
