"""IssueToken with bad input: code, reason, message and metadata, and nothing asked of Azure."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from support.failed_calls import Failure, failure
from support.fake_cloud import FakeCloud
from support.inproc import ADMIN_KEY, CONSUMER_KEY, OPERATOR_KEY, Broker, bearer, new_connector, running_broker
from valetkey.v1 import connector_service_pb2
from valetkey.v1.token_service_pb2 import IssueTokenRequest
from valetkey_broker.model import CloudProfile

pytestmark = pytest.mark.unmeasured

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
DENIED = (grpc.StatusCode.PERMISSION_DENIED, "RESOURCE_DENIED")
ISSUE = "/valetkey.v1.TokenService/IssueToken"


async def refused(broker: Broker, key: str = CONSUMER_KEY, **fields: Any) -> Failure:
    """Asks for a token that must not be given, and holds that Azure heard nothing of it."""
    before = dict(broker.cloud.calls)
    request = IssueTokenRequest(**{"resource_id": "demo", "permissions": [1], **fields})
    told = await failure(broker.tokens.IssueToken(request, metadata=bearer(key)))
    assert dict(broker.cloud.calls) == before
    return told


CONTAINERS = {
    "empty": "",
    "2 characters": "ab",
    "64 characters": "a" * 64,
    "upper case": "Demo",
    "two hyphens": "de--mo",
    "leading hyphen": "-demo",
    "trailing hyphen": "demo-",
    "dots": "..",
    "dot": "az://.",
    "parent in a path": "az://demo/../models",
    "encoded parent": "az://demo/%2e%2e/models",
    "twice encoded slash": "az://demo%252Fmodels",
    "slash without a scheme": "a/b",
    "query": "a?x",
    "query in a path": "az://demo/x?sig=1",
    "fragment": "az://demo#x",
    "empty segment": "az://demo//x",
    "NUL": "demo\0",
    "newline": "demo\n",
    "newline in a path": "az://demo/x\ny",
    "space": "de mo",
    "cyrillic look-alike": "d\u0435mo",
    "full-width look-alike": "\uff44emo",
    "zero-width joiner": "de\u200dmo",
    "underscore": "de_mo",
    "asterisk": "*",
    "quote": "demo'",
    "unknown dollar name": "$system",
    "other scheme": "s3://demo",
    "plain http": "http://demoaccount.blob.core.windows.net/demo",
    "user in the URL": "https://user@demoaccount.blob.core.windows.net/demo",
    "port in the URL": "https://demoaccount.blob.core.windows.net:444/demo",
    "account that is a host": "https://evil.example.com/demo",
    "account with a dot": "abfss://demo@a.b.dfs.core.windows.net",
    "account in upper case": "https://DEMO.blob.core.windows.net/demo",
    "account of 2": "https://ab.blob.core.windows.net/demo",
    "account of 25": f"https://{'a' * 25}.blob.core.windows.net/demo",
    "address of a cloud's metadata": "https://169.254.169.254/demo",
    "SAS in the URL": "https://demoaccount.blob.core.windows.net/demo?sig=x",
    "1,201 characters": "az://demo/" + "a" * 1191,
}


@pytest.mark.parametrize("resource_id", CONTAINERS.values(), ids=CONTAINERS)
async def test_malformed_resource(stocked: Broker, resource_id: str) -> None:
    """What breaks Azure's naming rules is refused as a field, quoted harmlessly, with the rule."""
    told = await refused(stocked, resource_id=resource_id)
    assert told.short == INVALID
    assert told.metadata["field"] == "resource_id"
    assert told.metadata["expected"] in told.message
    assert told.message.isascii() or "…" in told.message
    assert told.message.replace("…", "").isprintable()


TTLS = {
    "zero": Duration(seconds=0),
    "half a second": Duration(nanos=500_000_000),
    "negative": Duration(seconds=-1),
    "a little negative": Duration(nanos=-1),
    "over the limit": Duration(seconds=12 * 3600 + 1),
    "a week": Duration(seconds=7 * 24 * 3600),
    "largest duration": Duration(seconds=315_576_000_000),
    "over every duration": Duration(seconds=315_576_000_001),
    "2^63-1": Duration(seconds=2**63 - 1),
    "-2^63": Duration(seconds=-(2**63)),
    "nanos of the other sign": Duration(seconds=60, nanos=-1),
    "nanos over a second": Duration(seconds=60, nanos=1_000_000_000),
    "largest nanos": Duration(seconds=60, nanos=2**31 - 1),
}


@pytest.mark.parametrize("ttl", TTLS.values(), ids=TTLS)
async def test_bad_ttl(stocked: Broker, ttl: Duration) -> None:
    """A ttl that is none, or over the limit, is refused with the limit; never cut in silence."""
    told = await refused(stocked, ttl=ttl)
    assert told.short == INVALID
    assert told.metadata["field"] == "ttl"
    assert told.message.startswith("ttl: ")


async def test_ttl_of_two_to_the_63_as_bytes(stocked: Broker) -> None:
    """A number that no message can hold but the wire can is refused too."""
    varint = b"\x80" * 9 + b"\x01"
    duration = b"\x08" + varint
    raw = IssueTokenRequest(resource_id="demo", permissions=[1]).SerializeToString()
    raw += b"\x1a" + bytes([len(duration)]) + duration
    told = await failure(stocked.channel.unary_unary(ISSUE)(raw, metadata=bearer(CONSUMER_KEY)))
    assert told.short == INVALID
    assert told.metadata["field"] == "ttl"


@pytest.mark.parametrize("ttl", [1, 12 * 3600])
async def test_ttl_at_its_bounds(stocked: Broker, ttl: int) -> None:
    """One second and the limit itself are good."""
    request = IssueTokenRequest(resource_id="demo", permissions=[1], ttl=Duration(seconds=ttl))
    answer = await stocked.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    assert answer.expire_time.seconds - answer.start_time.seconds == 900 + ttl


@pytest.mark.parametrize(
    ("permissions", "words"),
    [
        ([], "none given"),
        ([0], "not given"),
        ([1, 0], "not given"),
        ([9], "unknown value 9"),
        ([-1], "unknown value -1"),
    ],
    ids=["empty", "unspecified", "one unspecified", "unknown", "negative"],
)
async def test_bad_permissions(stocked: Broker, permissions: list[int], words: str) -> None:
    """Permissions that are unknown or empty are refused, with the list of those there are."""
    told = await refused(stocked, permissions=permissions)
    assert told.short == INVALID
    assert told.metadata["field"] == "permissions"
    assert words in told.message
    assert "read, add, create, write, delete, list" in told.message


@pytest.mark.parametrize(
    "source_ip", ["::1", "203.0.113.256", "203.0.113.9-203.0.113.1", "203.0.113.0/24", "a", "203.0.113.1\n", "1-2-3"]
)
async def test_bad_source_ip(stocked: Broker, source_ip: str) -> None:
    """An address is signed verbatim, so only an address gets that far."""
    told = await refused(stocked, source_ip=source_ip)
    assert told.short == INVALID
    assert told.metadata["field"] == "source_ip"


@pytest.mark.parametrize("connector", ["Upper", "a b", "../x", "a\n", "a" * 64, "-a", "\u0430zure"])
async def test_malformed_connector_name(stocked: Broker, connector: str) -> None:
    """A connector's name never becomes a path in Vault without being one word."""
    told = await refused(stocked, connector=connector)
    assert told.short == INVALID
    assert told.metadata["field"] == "connector"


async def test_unknown_and_forbidden_connector_sound_the_same(stocked: Broker) -> None:
    """A consumer cannot find out which connectors there are."""
    await stocked.connectors.CreateConnector(new_connector("secret-project"), metadata=bearer(OPERATOR_KEY))
    forbidden = await refused(stocked, connector="secret-project")
    missing = await refused(stocked, connector="nobody-has-it")
    assert forbidden.short == missing.short == DENIED
    assert forbidden.message.replace("secret-project", "X") == missing.message.replace("nobody-has-it", "X")
    assert forbidden.metadata == {"resource": "az://demo", "connector": "secret-project"}
    assert missing.metadata == {"resource": "az://demo", "connector": "nobody-has-it"}


async def test_an_admin_without_a_grant_is_told_no_more(stocked: Broker) -> None:
    """Tokens go by grants alone: an admin without one hears what everybody hears."""
    for connector in ("azure-blob-demo", "nobody-has-it"):
        told = await refused(stocked, ADMIN_KEY, connector=connector)
        assert told.short == DENIED
        assert told.metadata == {"resource": "az://demo", "connector": connector}


@pytest.mark.parametrize("resource_id", ["models", "az://dem", "az://demo2", "abfs://other"])
async def test_container_of_nobody(stocked: Broker, resource_id: str) -> None:
    """A connector for one container serves that one: no prefix of its name, no other."""
    told = await refused(stocked, resource_id=resource_id)
    assert told.short == DENIED
    assert set(told.metadata) == {"resource"}
    assert "list-resources" in told.message


async def test_connector_that_was_deleted(stocked: Broker) -> None:
    """A consumer whose connector went away is refused, by name and without one, and so is a deleted key's use."""
    request = IssueTokenRequest(resource_id="demo", permissions=[1])
    await stocked.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    await stocked.connectors.DeleteConnector(
        connector_service_pb2.DeleteConnectorRequest(name="azure-blob-demo"), metadata=bearer(OPERATOR_KEY)
    )
    assert (await refused(stocked)).short == DENIED
    assert (await refused(stocked, connector="azure-blob-demo")).short == DENIED


async def test_prefix_is_never_widened(stocked: Broker) -> None:
    """A token for a path is refused with the reason; nothing is signed for the container instead."""
    request = IssueTokenRequest(resource_id="az://demo/some/path/", permissions=[1])
    told = await failure(stocked.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY)))
    assert told.short == (grpc.StatusCode.FAILED_PRECONDITION, "SCOPE_UNSUPPORTED")
    assert told.metadata == {"resource": "az://demo/some/path/", "cause": "flat-account", "account": "demoaccount"}
    assert not stocked.cloud.signed


async def test_short_id_of_two_accounts(broker: Broker) -> None:
    """A container name that two accounts have is refused with both, never guessed."""
    await broker.connectors.CreateConnector(new_connector(resource_id=""), metadata=bearer(OPERATOR_KEY))
    await broker.allow(containers=("models",))
    request = IssueTokenRequest(resource_id="models", permissions=[1])
    told = await failure(broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY)))
    assert told.short == (grpc.StatusCode.FAILED_PRECONDITION, "RESOURCE_AMBIGUOUS")
    both = "https://demoaccount.blob.invalid/models https://otheraccount.blob.invalid/models"
    assert told.metadata == {"resource": "az://models", "candidates": both}
    assert both in told.message
    assert not broker.cloud.signed


async def test_short_id_of_hundreds_of_accounts(tmp_path: Path) -> None:
    """An error about very many accounts still fits into what gRPC carries, and says how many are left out."""
    cloud = FakeCloud({f"account{number:04d}": ["models"] for number in range(400)})
    async with running_broker(tmp_path, cloud=cloud) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(resource_id=""), metadata=bearer(OPERATOR_KEY))
        await broker.allow(containers=("models",))
        request = IssueTokenRequest(resource_id="models", permissions=[1])
        told = await failure(broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY)))
    assert told.reason == "RESOURCE_AMBIGUOUS"
    assert "and 390 more" in told.message


@pytest.mark.parametrize(
    "resource_id",
    [
        "https://demoaccount.blob.core.windows.net/demo",
        "https://demoaccount.blob.core.invalid.evil.example/demo",
        "abfss://demo@demoaccount.dfs.evil.example",
        "https://otheraccount.blob.core.invalid/demo",
        "https://127.0.0.1:10000/demoaccount/demo",
    ],
)
async def test_full_url_of_another_cloud_or_account(tmp_path: Path, resource_id: str) -> None:
    """A full URL means that host and that account; another cloud's container of the same name is not given, and the
    host that was meant is named.
    """
    profile = CloudProfile("dev", "https://login.invalid", "https://arm.invalid", "https://{account}.blob.core.invalid")
    cloud = FakeCloud({"demoaccount": ["demo"]}, profile=profile)
    clouds = {"dev": {"authority": "https://login.invalid", "blob_endpoint": profile.blob_endpoint}}
    async with running_broker(tmp_path, cloud=cloud, clouds=clouds) as broker:
        await broker.ready()
        await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await broker.allow()
        told = await refused(broker, resource_id=resource_id)
        if "otheraccount" in resource_id:
            assert told.short == DENIED
        else:
            assert told.short == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
            assert "expected https://demoaccount.blob.core.invalid (the cloud dev)" in told.message
        right = IssueTokenRequest(resource_id="https://demoaccount.blob.core.invalid/demo", permissions=[1])
        answer = await broker.tokens.IssueToken(right, metadata=bearer(CONSUMER_KEY))
        assert answer.resource.url == "https://demoaccount.blob.core.invalid/demo"
