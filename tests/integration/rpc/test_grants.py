"""GrantService over the wire: each RPC does its job, refuses with code, reason and field, and counts at once."""

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from support.failed_calls import failure
from support.inproc import (
    ADMIN_KEY,
    AUDITOR_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    VIEWER_KEY,
    Broker,
    bearer,
    new_connector,
    running_broker,
)
from support.waiting import eventually
from valetkey.v1 import connector_service_pb2
from valetkey.v1 import grant_service_pb2 as pb
from valetkey.v1.resource_service_pb2 import ListResourcesRequest
from valetkey.v1.token_service_pb2 import IssueTokenRequest

REQUEST = IssueTokenRequest(resource_id="demo", permissions=[1])


async def get(broker: Broker, name: str = "training", key: str = AUDITOR_KEY) -> pb.Grant:
    return (await broker.grants.GetGrant(pb.GetGrantRequest(name=name), metadata=bearer(key))).grant


async def update(broker: Broker, grant: pb.Grant) -> pb.Grant:
    return (await broker.grants.UpdateGrant(pb.UpdateGrantRequest(grant=grant), metadata=bearer(ADMIN_KEY))).grant


async def explain(broker: Broker, key: str = CONSUMER_KEY, **fields: Any) -> pb.ExplainAccessResponse:
    request = pb.ExplainAccessRequest(**{"resource_id": "demo", "permissions": [1], **fields})
    return await broker.grants.ExplainAccess(request, metadata=bearer(key))


async def test_a_grant_is_made_shown_changed_and_deleted(broker: Broker) -> None:
    """Every field comes back; identity stays, the version counts; what is deleted is gone."""
    await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
    ends = Timestamp(seconds=int(time.time()) + 3600)
    made = await broker.allow(
        "key:trainer",
        "spiffe://ml.invalid/ns/*/sa/trainer",
        permissions=(6, 1),
        containers=("demo", "ml-*"),
        prefixes=["models/"],
        attributes={"namespace": "ml-*"},
        max_ttl=Duration(seconds=600),
        source_ip="203.0.113.7",
        expire_time=ends,
        note="for the night",
    )
    assert list(made.principals) == ["key:trainer", "spiffe://ml.invalid/ns/*/sa/trainer"]
    assert (list(made.permissions), list(made.containers), list(made.prefixes)) == (
        [1, 6],
        ["demo", "ml-*"],
        ["models"],
    )
    assert (dict(made.attributes), made.max_ttl.seconds, made.source_ip) == ({"namespace": "ml-*"}, 600, "203.0.113.7")
    assert (made.expire_time, made.note, made.version) == (ends, "for the night", 1)
    assert (made.meta.created_by, made.consumer_role) == ("key:admin", 0)
    shown = await broker.connectors.GetConnector(
        connector_service_pb2.GetConnectorRequest(name="azure-blob-demo"), metadata=bearer(VIEWER_KEY)
    )
    assert [(c.name, c.uid) for c in made.connectors] == [("azure-blob-demo", shown.connector.meta.uid)]
    assert await get(broker) == made == await get(broker, key=OPERATOR_KEY)

    changed = pb.Grant()
    changed.CopyFrom(made)
    changed.note = "for the day"
    changed.ClearField("expire_time")
    after = await update(broker, changed)
    assert (after.note, after.version, after.meta, after.HasField("expire_time")) == (
        "for the day",
        2,
        made.meta,
        False,
    )
    listed = await broker.grants.ListGrants(pb.ListGrantsRequest(), metadata=bearer(AUDITOR_KEY))
    assert list(listed.grants) == [after]
    await broker.grants.DeleteGrant(pb.DeleteGrantRequest(name="training"), metadata=bearer(ADMIN_KEY))
    assert (await failure(get(broker))).short == (grpc.StatusCode.NOT_FOUND, "GRANT_NOT_FOUND")


async def test_ready_made_roles_over_the_wire(stocked: Broker) -> None:
    """A role stands in place of permissions, and what was read can be sent back as it is."""
    made = await stocked.allow(name="deploys", permissions=(), consumer_role=pb.CONSUMER_ROLE_DEPLOYER)
    assert (list(made.permissions), made.consumer_role) == ([1, 6], pb.CONSUMER_ROLE_DEPLOYER)
    assert (await update(stocked, made)).version == 2


async def test_pages_of_grants(stocked: Broker) -> None:
    """Grants come by name, in pages."""
    for name in ("b", "a"):
        await stocked.allow(name=name)
    first = await stocked.grants.ListGrants(pb.ListGrantsRequest(page_size=2), metadata=bearer(AUDITOR_KEY))
    rest = await stocked.grants.ListGrants(
        pb.ListGrantsRequest(page_size=2, page_token=first.next_page_token), metadata=bearer(AUDITOR_KEY)
    )
    assert [grant.name for grant in (*first.grants, *rest.grants)] == ["a", "b", "training"]
    assert not rest.next_page_token


async def test_two_admins_cannot_overwrite_each_other(stocked: Broker) -> None:
    """Of two who change what both have read, one is told to look again."""
    read = await get(stocked)
    outcomes = await asyncio.gather(update(stocked, read), update(stocked, read), return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert [error.code() for error in errors] == [grpc.StatusCode.ABORTED]
    told = await failure(update(stocked, read))
    assert (told.reason, told.metadata) == ("CONFLICT", {"object": "grants/training"})
    read.ClearField("version")
    assert (await failure(update(stocked, read))).metadata["field"] == "version"


async def test_a_taken_name(stocked: Broker) -> None:
    """A second grant of a name is refused; repeating the very same, after an answer that was lost, is not."""
    assert await stocked.allow() == await get(stocked)
    told = await failure(stocked.allow(containers=["other"]))
    assert told.short == (grpc.StatusCode.ALREADY_EXISTS, "GRANT_EXISTS")
    assert told.metadata == {"grant": "training"}


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": "A"}),
        ("principals", {"principals": ["trainer"]}),
        ("connectors", {"connectors": []}),
        ("containers", {"containers": ["**"]}),
        ("prefixes", {"prefixes": ["a/../b"]}),
        ("permissions", {"permissions": [0]}),
        ("permissions", {"permissions": [99]}),
        ("permissions", {"consumer_role": 3, "permissions": [5]}),
        ("consumer_role", {"consumer_role": 9}),
        ("max_ttl", {"max_ttl": Duration(seconds=-1)}),
        ("max_ttl", {"max_ttl": Duration(seconds=2**62)}),
        ("max_ttl", {"max_ttl": Duration(nanos=5)}),
        ("expire_time", {"expire_time": Timestamp(seconds=1)}),
        ("expire_time", {"expire_time": Timestamp(seconds=2**60)}),
        ("attributes", {"attributes": {"a": "*"}}),
        ("note", {"note": "a\nb"}),
    ],
)
async def test_bad_grants(stocked: Broker, field: str, changes: dict[str, Any]) -> None:
    """The field that is wrong is named; nothing is stored."""
    fields: dict[str, Any] = {
        "name": "new",
        "principals": ["key:a"],
        "connectors": [pb.GrantedConnector(name="azure-blob-demo")],
        "containers": ["demo"],
        "permissions": [1],
        **changes,
    }
    writes = stocked.store.calls["write"]
    request = pb.CreateGrantRequest(grant=pb.Grant(**fields))
    told = await failure(stocked.grants.CreateGrant(request, metadata=bearer(ADMIN_KEY)))
    assert told.short == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert told.metadata["field"] == field
    assert stocked.store.calls["write"] == writes


async def test_changes_count_at_once_and_elsewhere_within_seconds(tmp_path: Path) -> None:
    """A grant made, narrowed and deleted through one replica holds there at once, and at the other soon."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with running_broker(tmp_path / "one") as one:
        await one.ready()
        await one.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        async with running_broker(tmp_path / "two", store=one.store, cloud=one.cloud) as two:
            await two.ready()
            made = await one.allow()
            await one.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))
            await eventually(lambda: "training" in two.core.memory.grants)
            await two.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY))
            del made.permissions[:]
            made.permissions.append(6)
            await update(one, made)
            assert (await failure(one.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))).metadata == {
                "resource": "az://demo",
                "missing": "read",
            }
            await eventually(lambda: two.core.memory.grants["training"].version == 2)
            assert (await failure(two.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))).reason == (
                "RESOURCE_DENIED"
            )
            await one.grants.DeleteGrant(pb.DeleteGrantRequest(name="training"), metadata=bearer(ADMIN_KEY))
            await eventually(lambda: not two.core.memory.grants)
            told = await failure(two.tokens.IssueToken(REQUEST, metadata=bearer(CONSUMER_KEY)))
            assert told.metadata == {"resource": "az://demo"}


async def test_explaining_oneself(stocked: Broker) -> None:
    """A stack component is told which of its grants allows, or why not and what would work."""
    allowed = await explain(stocked)
    assert (allowed.allowed, allowed.grant) == (True, "training")
    assert [(finding.grant, finding.allows) for finding in allowed.findings] == [("training", True)]
    refused = await explain(stocked, principal="key:trainer", resource_id="models")
    assert (refused.allowed, refused.grant, len(refused.findings)) == (False, "", 1)
    assert refused.nearest == "read on az://demo with the connector azure-blob-demo, by the grant training"


async def test_explaining_what_nobody_can_be_called(stocked: Broker) -> None:
    """Names and attributes of a question are bounded as those of callers are."""
    for fields in ({"principal": "x" * 5000}, {"principal": "key:x", "attributes": {"ref": "x" * 1025}}):
        found = await failure(explain(stocked, ADMIN_KEY, **fields))
        assert found.reason == "INVALID_FIELD"


async def test_explaining_others(stocked: Broker) -> None:
    """People with a role for it may; the others may not, and learn nothing of grants that do not mean them."""
    for key in (ADMIN_KEY, OPERATOR_KEY, AUDITOR_KEY):
        answer = await explain(stocked, key, principal="key:trainer")
        assert (answer.grant, answer.caller_problem) == ("training", "")
        assert "there is no API key nobody" in (await explain(stocked, key, principal="key:nobody")).caller_problem
    for key in (VIEWER_KEY, CONSUMER_KEY):
        told = await failure(explain(stocked, key, principal="key:somebody"))
        assert told.short == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    own = await explain(stocked, VIEWER_KEY)
    assert (own.allowed, len(own.findings), own.nearest) == (False, 0, "")
    told = await failure(explain(stocked, CONSUMER_KEY, attributes={"namespace": "prod"}))
    assert told.reason == "ROLE_REQUIRED"


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("resource_id", {"resource_id": ""}),
        ("permissions", {"permissions": []}),
        ("connector", {"connector": "A B"}),
        ("principal", {"principal": "a\nb"}),
        ("principal", {"principal": "a" * 2049}),
    ],
)
async def test_bad_questions(stocked: Broker, field: str, fields: dict[str, Any]) -> None:
    """A question that makes no sense is refused by its field."""
    assert (await failure(explain(stocked, AUDITOR_KEY, **fields))).metadata["field"] == field


async def test_lists_show_paths_where_only_these_are_granted(broker: Broker) -> None:
    """Who may use parts of a container sees the parts, and nothing of the other containers."""
    await broker.connectors.CreateConnector(new_connector(resource_id=""), metadata=bearer(OPERATOR_KEY))
    await broker.allow(containers=("models",), prefixes=["b", "a"])
    answer = await broker.resources.ListResources(ListResourcesRequest(), metadata=bearer(CONSUMER_KEY))
    (row,) = answer.connectors
    assert [(resource.resource_id, resource.account) for resource in row.resources] == [
        ("az://models/a/", "demoaccount"),
        ("az://models/b/", "demoaccount"),
        ("az://models/a/", "otheraccount"),
        ("az://models/b/", "otheraccount"),
    ]
