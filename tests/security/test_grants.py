"""Abuse of grants: patterns, paths, look-alikes, stale connectors, and the order of things, over the wire."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from support.failed_calls import Failure, failure
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger
from support.inproc import (
    ADMIN_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    VIEWER_KEY,
    Broker,
    bearer,
    new_connector,
    running_broker,
)
from valetkey.v1 import common_pb2, connector_service_pb2
from valetkey.v1 import grant_service_pb2 as pb
from valetkey.v1.resource_service_pb2 import ListResourcesRequest
from valetkey.v1.token_service_pb2 import IssueTokenRequest

pytestmark = pytest.mark.unmeasured

DENIED = (grpc.StatusCode.PERMISSION_DENIED, "RESOURCE_DENIED")


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """Two connectors to everything: `azure-blob-demo`, on which `key:trainer` is granted `models`, and `secret`."""
    cloud = FakeCloud({"demoaccount": ["demo", "models", "models-evil", "top-secret"]})
    async with running_broker(tmp_path, cloud=cloud, ledger=FakeLedger()) as running:
        await running.ready()
        for name in ("azure-blob-demo", "secret"):
            await running.connectors.CreateConnector(new_connector(name, ""), metadata=bearer(OPERATOR_KEY))
        await running.allow(containers=("models",), permissions=(1, 6))
        running.cloud.calls.clear()
        yield running


async def refused(broker: Broker, key: str = CONSUMER_KEY, **fields: Any) -> Failure:
    """Asks for a token that must not be given, and holds that neither Azure nor Vault heard of it."""
    cloud, store = dict(broker.cloud.calls), dict(broker.store.calls)
    request = IssueTokenRequest(**{"resource_id": "models", "permissions": [1], **fields})
    told = await failure(broker.tokens.IssueToken(request, metadata=bearer(key)))
    assert dict(broker.cloud.calls) == cloud
    polled = {"read"}  # The broker's own look at the generation goes on in the background.
    assert {name: n for name, n in broker.store.calls.items() if name not in polled} == {
        name: n for name, n in store.items() if name not in polled
    }
    assert not [event for event in ledger_of(broker).recorded if event.lease_id]
    return told


def ledger_of(broker: Broker) -> FakeLedger:
    ledger = broker.core.ledger
    assert isinstance(ledger, FakeLedger)
    return ledger


@pytest.mark.parametrize(
    "fields",
    [
        {"resource_id": "top-secret"},
        {"resource_id": "az://models-evil"},
        {"resource_id": "az://nowhere"},
        {"connector": "secret"},
        {"connector": "nowhere"},
        {"permissions": [1, 5]},
        {"resource_id": "az://top-secret/models"},
        {"resource_id": "https://demoaccount.blob.core.windows.net/top-secret"},
    ],
    ids=str,
)
async def test_a_refused_request_asks_neither_azure_nor_vault(broker: Broker, fields: dict[str, Any]) -> None:
    """Order is the security property: decided in memory before anybody is asked, discovery included."""
    assert (await refused(broker, **fields)).short == DENIED


@pytest.mark.parametrize("key", [ADMIN_KEY, OPERATOR_KEY, VIEWER_KEY])
async def test_no_role_stands_in_for_a_grant(broker: Broker, key: str) -> None:
    """Running the broker is one thing, reading the data another."""
    assert (await refused(broker, key)).short == DENIED


async def test_one_permission_too_many_refuses_all_and_says_which(broker: Broker) -> None:
    """Nothing narrower is given instead; the caller is told what to leave out."""
    told = await refused(broker, permissions=[1, 6, 5, 4])
    assert told.metadata == {"resource": "az://models", "missing": "write,delete"}


async def test_forbidden_and_not_there_sound_the_same(broker: Broker) -> None:
    """Neither containers nor connectors can be found out by being refused."""
    there, not_there = await refused(broker, resource_id="top-secret"), await refused(broker, resource_id="top-nothin")
    assert there.message.replace("top-secret", "top-nothin") == not_there.message
    there, not_there = await refused(broker, connector="secret"), await refused(broker, connector="nobody")
    assert there.message.replace("connector secret", "connector nobody") == not_there.message
    answers = [
        await failure(
            broker.resources.ListResources(ListResourcesRequest(connector=name), metadata=bearer(CONSUMER_KEY))
        )
        for name in ("secret", "nobody")
    ]
    assert [told.short for told in answers] == [DENIED] * 2
    assert answers[0].message.replace("secret", "nobody") == answers[1].message


async def test_lists_show_only_what_may_be_used(broker: Broker) -> None:
    """Of a connector that reaches everything, a caller sees the containers it is granted."""
    answer = await broker.resources.ListResources(ListResourcesRequest(), metadata=bearer(CONSUMER_KEY))
    assert [(row.connector, [r.resource_id for r in row.resources]) for row in answer.connectors] == [
        ("azure-blob-demo", ["az://models"])
    ]
    assert b"top-secret" not in answer.SerializeToString()
    await broker.grants.DeleteGrant(pb.DeleteGrantRequest(name="training"), metadata=bearer(ADMIN_KEY))
    broker.cloud.calls.clear()
    answer = await broker.resources.ListResources(ListResourcesRequest(), metadata=bearer(CONSUMER_KEY))
    assert not answer.connectors
    assert not broker.cloud.calls


async def test_errors_of_a_listing_name_no_container_of_others(broker: Broker) -> None:
    """The help that operators get, "it reaches …", is not for those who may not see it."""
    await broker.connectors.CreateConnector(new_connector("single", "demo"), metadata=bearer(OPERATOR_KEY))
    await broker.allow(name="single", connectors=("single",), containers=("demo",))
    broker.cloud.containers["demoaccount"].remove("demo")
    answer = await broker.resources.ListResources(
        ListResourcesRequest(connector="single"), metadata=bearer(CONSUMER_KEY)
    )
    (row,) = answer.connectors
    assert row.error.reason == 15
    assert b"top-secret" not in answer.SerializeToString()


async def test_a_connector_made_anew_under_the_same_name(broker: Broker) -> None:
    """A grant belongs to the connector it was given for, for tokens, lists and explanations alike."""
    request = connector_service_pb2.DeleteConnectorRequest(name="azure-blob-demo")
    await broker.connectors.DeleteConnector(request, metadata=bearer(OPERATOR_KEY))
    await refused(broker)
    await broker.connectors.CreateConnector(new_connector("azure-blob-demo", ""), metadata=bearer(OPERATOR_KEY))
    assert (await refused(broker)).short == DENIED
    assert (await refused(broker, connector="azure-blob-demo")).short == DENIED
    answer = await broker.resources.ListResources(ListResourcesRequest(), metadata=bearer(CONSUMER_KEY))
    assert not answer.connectors
    question = pb.ExplainAccessRequest(resource_id="models", permissions=[1])
    explained = await broker.grants.ExplainAccess(question, metadata=bearer(CONSUMER_KEY))
    assert not explained.allowed
    assert "is gone" in explained.findings[0].reasons[0]
    # An update that does not say that the new one is meant does not hand it over either.
    read = (await broker.grants.GetGrant(pb.GetGrantRequest(name="training"), metadata=bearer(ADMIN_KEY))).grant
    read.connectors[0].ClearField("uid")
    told = await failure(broker.grants.UpdateGrant(pb.UpdateGrantRequest(grant=read), metadata=bearer(ADMIN_KEY)))
    assert told.metadata["field"] == "connectors"


HOSTILE_PATTERNS = [
    *("", "*", "**", "***", "key:**", "key:?", "key:[a-z]", "key:{a,b", 'key:"a"', "key:'a'", "key:a\nkey:b"),
    *(
        "key:a\0",
        "key:a b",
        "key:\u0442rainer",
        "key:tra\u00efner",
        "key:trai\u0308ner",
        "*:trainer",
        "oidc:*#*",
        "/",
        "#",
    ),
    *("oidc:https://*#admin", "spiffe://*/admin", "key:a#b", "key:a/b", "key:(a|b", "key:a\\"),
]


@pytest.mark.parametrize("pattern", HOSTILE_PATTERNS, ids=ascii)
async def test_hostile_principal_patterns(broker: Broker, pattern: str) -> None:
    """What could match more than it seems to, or break out of where it is shown, makes no grant, or one of itself."""
    request = pb.CreateGrantRequest(
        grant=pb.Grant(
            name="hostile",
            principals=[pattern],
            connectors=[pb.GrantedConnector(name="secret")],
            containers=["top-secret"],
            permissions=[1],
        )
    )
    try:
        await broker.grants.CreateGrant(request, metadata=bearer(ADMIN_KEY))
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # noqa: PT017 (both ways out are looked at)
    for key in (CONSUMER_KEY, ADMIN_KEY):
        assert (await refused(broker, key, resource_id="top-secret")).short == DENIED


@pytest.mark.parametrize(
    "container", ["*", "**", "t*?", "top-[a-z]*", "top-*\n", '"top-secret"', "TOP-*", "../*", "a/*"]
)
async def test_hostile_container_patterns(broker: Broker, container: str) -> None:
    """No pattern of containers means everything, and none is anything but letters, digits, hyphens and stars."""
    told = await failure(broker.allow(name="hostile", containers=(container,)))
    assert told.metadata["field"] == "containers"


PATHS = [
    "a/../b",
    "a//b",
    "../a",
    "./a",
    "%2e%2e",
    "a/%2e%2e/b",
    "%252F",
    "a%2Fb",
    "a/\u00e9",
    "a/e\u0301",
    "a\\..\\b",
    "a\0",
]


@pytest.mark.parametrize("path", PATHS, ids=ascii)
async def test_hostile_paths(broker: Broker, path: str) -> None:
    """A path that two readers could read in two ways is refused in a grant and in a request, never cleaned up."""
    told = await failure(broker.allow(name="hostile", prefixes=[path]))
    assert told.metadata["field"] == "prefixes"
    told = await refused(broker, resource_id=f"az://models/{path}")
    assert told.short == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


@pytest.mark.parametrize(
    ("resource_id", "reason"),
    [
        ("az://demo", "RESOURCE_DENIED"),
        ("az://demo/", "RESOURCE_DENIED"),
        ("az://demo/models-evil", "RESOURCE_DENIED"),
        ("az://demo/model", "RESOURCE_DENIED"),
        ("az://demo/MODELS", "RESOURCE_DENIED"),
        # Allowed by the grant, and refused for what the account can do; nothing wider is given instead.
        ("az://demo/models/", "SCOPE_UNSUPPORTED"),
        ("az://demo/models/a/", "SCOPE_UNSUPPORTED"),
    ],
)
async def test_prefixes_admit_whole_segments_and_never_the_container(
    broker: Broker, resource_id: str, reason: str
) -> None:
    """`models` admits `models/a`, never `models-evil`, whatever slashes stand at its end; and no token is wider."""
    await broker.allow(name="path", containers=("demo",), prefixes=["models/"])
    request = IssueTokenRequest(resource_id=resource_id, permissions=[1])
    told = await failure(broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY)))
    assert told.reason == reason
    assert not broker.cloud.signed


@pytest.mark.parametrize("path", ["models", "models/a", "models/a/b.x"])
async def test_prefixes_admit_single_blobs(broker: Broker, path: str) -> None:
    """What is signed is the blob that was asked for: neither the prefix nor the container."""
    await broker.allow(name="path", containers=("demo",), prefixes=["models/"])
    request = IssueTokenRequest(resource_id=f"az://demo/{path}", permissions=[1])
    answer = await broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    (signed,) = broker.cloud.signed
    assert (signed.scope.kind.value, signed.scope.container, signed.scope.path) == ("b", "demo", path)
    assert answer.resource.resource_id == f"az://demo/{path}"
    assert answer.resource.url == f"https://demoaccount.blob.invalid/demo/{path}"


async def test_directories_are_given_where_the_account_has_them(broker: Broker) -> None:
    """On an account with hierarchical namespace a slash at the end means all below; elsewhere nothing is signed."""
    broker.cloud.with_directories = {"demoaccount"}
    await broker.allow(name="path", containers=("demo",), prefixes=["models"], permissions=[1, 6, 7, 8])
    for resource_id, kind in (("az://demo/models/", "d"), ("az://demo/models/a/b/", "d"), ("az://demo/models/a", "b")):
        permissions = [1, 7, 8] if kind == "b" else [1, 6, 7, 8]
        request = IssueTokenRequest(resource_id=resource_id, permissions=permissions)
        answer = await broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
        signed = broker.cloud.signed[-1]
        assert (signed.scope.kind.value, signed.scope.resource_id) == (kind, resource_id)
        assert (answer.resource.resource_id, list(answer.permissions)) == (resource_id, permissions)
    assert broker.cloud.calls["hierarchical"] <= 1


@pytest.mark.parametrize(
    ("resource_id", "permission", "cause"),
    [
        ("az://demo/models/a", 6, "list-of-blob"),
        ("az://demo/models/a", 7, "flat-account"),
        ("az://demo/models/", 1, "flat-account"),
        ("az://demo", 8, "container"),
    ],
)
async def test_what_azure_has_no_token_for(broker: Broker, resource_id: str, permission: int, cause: str) -> None:
    """Each is refused for a reason that programs can tell, after the grant was looked at, and nothing is signed."""
    await broker.allow(name="all", containers=("demo",), permissions=[1, 6, 7, 8])
    request = IssueTokenRequest(resource_id=resource_id, permissions=[permission])
    told = await failure(broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY)))
    assert (told.reason, told.metadata["cause"]) == ("SCOPE_UNSUPPORTED", cause)
    assert not broker.cloud.signed


@pytest.mark.parametrize(
    "name",
    [
        *("trainer", "Key:trainer", "key:", "key:a/b", "key:Trainer", "key:*", "key:a b", "oidc:https://x", "oidc:#a"),
        *(
            "spiffe://x",
            "spiffe://X/a",
            "spiffe://x/../a",
            "spiffe://x/*",
            "oidc:https://x#a\nb",
            "oidc:https://x#\u00e9",
        ),
        "key:" + "a" * 2100,
    ],
    ids=ascii,
)
async def test_only_principals_are_explained(broker: Broker, name: str) -> None:
    """Of a mistyped principal it was said that no grant names it: its admin looked for the mistake in the grants."""
    question = pb.ExplainAccessRequest(principal=name, resource_id="models", permissions=[1])
    told = await failure(broker.grants.ExplainAccess(question, metadata=bearer(ADMIN_KEY)))
    assert told.metadata["field"] == "principal"


async def test_the_life_of_a_token_and_why_it_is_shorter_are_told(broker: Broker) -> None:
    """The answers of IssueToken and of ExplainAccess say the same, and neither cuts a life in silence."""
    await broker.allow(name="training-short", containers=("demo",), max_ttl=Duration(seconds=3600))
    for ttl, limit in ((7200, common_pb2.TTL_LIMIT_GRANT_MAX_TTL), (600, common_pb2.TTL_LIMIT_UNSPECIFIED)):
        life = Duration(seconds=ttl)
        request = IssueTokenRequest(resource_id="demo", permissions=[1], ttl=life)
        answer = await broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
        question = pb.ExplainAccessRequest(resource_id="demo", permissions=[1], ttl=life)
        explained = await broker.grants.ExplainAccess(question, metadata=bearer(CONSUMER_KEY))
        assert answer.ttl_limited_by == explained.ttl_limited_by == limit
        assert explained.ttl.seconds == min(ttl, 3600)


async def test_look_alike_grant_names(broker: Broker) -> None:
    """Names that differ in case or in how a letter is written are no names: there is one way to write each."""
    for name in ("Training", "TRAINING", "trainin\u0433", "training\u0301", "training ", "training\n", "tr\u00e4ining"):
        assert (await failure(broker.allow(name=name))).metadata["field"] == "name"


async def test_unprintable_purposes(broker: Broker) -> None:
    """What a caller writes into the ledger cannot forge a line of it."""
    for purpose in ("a\nb", "\x1b[2J", "a" * 201, "x\u2028y", "\u202egpj.exe"):
        told = await refused(broker, purpose=purpose)
        assert told.metadata["field"] == "purpose"
