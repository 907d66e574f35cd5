"""CreateConnector and its kin with bad input: refused before anything is asked or stored."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from support.failed_calls import Failure, as_failure, failure
from support.fake_cloud import FakeCloud
from support.inproc import CONSUMER_KEY, OPERATOR_KEY, SECRET, Broker, bearer, new_connector, running_broker
from support.waiting import eventually
from valetkey.v1 import connector_service_pb2 as pb
from valetkey.v1.token_service_pb2 import IssueTokenRequest
from valetkey_broker.errors import BrokerError, Reason

pytestmark = pytest.mark.unmeasured

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
ACCOUNTS_THAT_ARE_NONE = [
    "evil.example.com",
    "demoaccount.blob.core.windows.net",
    "https://evil",
    "demo/x",
    "demo@evil",
    "127.0.0.1",
    "localhost:443",
    "demo#",
    "demo?x",
    "Demo",
    "ab",
    "a" * 25,
    "demo\n",
    "dem\u043e",
    "{account}",
]


async def refused(broker: Broker, request: pb.CreateConnectorRequest) -> Failure:
    """Registers what must be refused, and holds that Azure heard nothing and Vault got nothing."""
    writes = broker.store.calls["write"]
    told = await failure(broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY)))
    assert not broker.cloud.calls
    assert broker.store.calls["write"] == writes
    assert SECRET not in told.message
    return told


def changed(**fields: Any) -> pb.CreateConnectorRequest:
    request = new_connector()
    request.MergeFrom(pb.CreateConnectorRequest(**fields))
    return request


@pytest.mark.parametrize("account", ACCOUNTS_THAT_ARE_NONE)
async def test_account_names_that_are_hosts(broker: Broker, account: str) -> None:
    """No host or URL ever comes from a caller: what is not an account's name does not get into the template."""
    told = await refused(broker, new_connector(storage_account=account))
    assert told.short == INVALID
    assert told.metadata["field"] == "storage_account"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant_id", ""),
        ("tenant_id", "contoso.onmicrosoft.com"),
        ("tenant_id", "11111111-1111-4111-8111-111111111111/../x"),
        ("client_id", ""),
        ("client_id", "{22222222-2222-4222-8222-222222222222}"),
        ("subscription_id", "all"),
        ("resource_group", "a/b"),
        ("resource_group", "ends."),
        ("cloud", "https://evil.example.com"),
        ("cloud", "azure-germany"),
    ],
)
async def test_bad_azure_configuration(broker: Broker, field: str, value: str) -> None:
    """Each part of the configuration is what it says, or is refused by its name."""
    told = await refused(broker, new_connector(**{field: value}))
    assert told.short == INVALID
    assert told.metadata["field"] == field


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("name", {"name": "Upper"}),
        ("name", {"name": "a/b"}),
        ("name", {"name": "a" * 64}),
        ("resource_id", {"resource_id": "De--mo"}),
        ("resource_id", {"resource_id": "az://demo/path"}),
        ("resource_id", {"resource_id": "https://demoaccount.blob.evil.example/demo"}),
        ("type", {"type": 9}),
        ("auth_method", {"auth_method": 9}),
        ("resource_type", {"resource_type": 9}),
    ],
)
async def test_bad_fields(broker: Broker, field: str, fields: dict[str, Any]) -> None:
    """Names, resource and enums are checked before the cloud is asked."""
    told = await refused(broker, changed(**fields))
    assert told.short == INVALID
    assert told.metadata["field"] == field


@pytest.mark.parametrize("field", ["name", "type", "auth_method", "azure", "azure_secret"])
async def test_left_out_fields(broker: Broker, field: str) -> None:
    """What is needed and missing is named."""
    request = new_connector()
    request.ClearField(field)
    told = await refused(broker, request)
    assert told.short == INVALID
    assert told.metadata["field"] == {"azure": "tenant_id", "azure_secret": "client_secret"}.get(field, field)


@pytest.mark.parametrize("secret", ["", "with a newline\n", "with\0nul", "umlaut \u00e4", "x" * 4097])
async def test_bad_secret(broker: Broker, secret: str) -> None:
    """A secret that cannot be one is refused without being repeated."""
    request = new_connector()
    request.azure_secret.client_secret = secret
    told = await refused(broker, request)
    assert told.metadata["field"] == "client_secret"
    assert not secret or secret not in told.message


async def test_name_taken(stocked: Broker) -> None:
    """A taken name is told as such; the connector that has it stays as it is."""
    before = dict(stocked.cloud.calls)
    told = await failure(stocked.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY)))
    assert told.short == (grpc.StatusCode.ALREADY_EXISTS, "CONNECTOR_EXISTS")
    assert told.metadata == {"connector": "azure-blob-demo"}
    assert "choose another name" in told.message
    assert dict(stocked.cloud.calls) == before
    assert await stocked.store.newest("credentials/azure-blob-demo") == 1


def secret_of(number: int) -> pb.CreateConnectorRequest:
    request = new_connector()
    request.azure_secret.client_secret = f"secret-{number}"
    return request


@pytest.mark.parametrize("replicas", [1, 2])
async def test_same_name_registered_at_once(tmp_path: Path, replicas: int) -> None:
    """Of two operators one wins and the other is told, on one broker and on two; the winner's secret is in use."""
    cloud = FakeCloud({"demoaccount": ["demo"]})
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with running_broker(tmp_path / "one", cloud=cloud) as one:
        await one.ready()
        async with running_broker(tmp_path / "two", store=one.store, cloud=cloud) as other:
            await other.ready()
            two = other if replicas == 2 else one
            gate = cloud.hold("list_containers")
            calls = [
                asyncio.ensure_future(_result(broker, secret_of(number))) for number, broker in enumerate((one, two))
            ]
            await eventually(lambda: cloud.calls["list_containers"] == 2)
            gate.set()
            results = await asyncio.gather(*calls)
            (winner,) = [number for number, result in enumerate(results) if result is None]
            (told,) = [result for result in results if result is not None]
            assert told.short == (grpc.StatusCode.ALREADY_EXISTS, "CONNECTOR_EXISTS")
            assert told.metadata == {"connector": "azure-blob-demo"}
            stored = await one.store.read("connectors/azure-blob-demo")
            assert stored is not None
            credential = await one.store.read("credentials/azure-blob-demo", stored.data["credential_version"])
            assert credential is not None
            assert credential.data["client_secret"] == f"secret-{winner}"
            assert await one.store.newest("credentials/azure-blob-demo") == 1, "the loser's was not even written"
            await (one, two)[winner].allow()
            request = IssueTokenRequest(resource_id="demo", permissions=[1])
            await (one, two)[winner].tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))


async def _result(broker: Broker, request: pb.CreateConnectorRequest) -> Failure | None:
    try:
        await broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))
    except grpc.aio.AioRpcError as error:
        return as_failure(error)
    return None


@pytest.mark.parametrize("step", ["log_in", "list_containers", "signing_key"])
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.CLOUD_CREDENTIAL_REJECTED, grpc.StatusCode.FAILED_PRECONDITION),
        (Reason.CLOUD_PERMISSION_MISSING, grpc.StatusCode.FAILED_PRECONDITION),
        (Reason.CLOUD_UNAVAILABLE, grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_failed_verification_stores_nothing(
    broker: Broker, step: Any, reason: Reason, code: grpc.StatusCode
) -> None:
    """Where a step of verification fails, its words arrive, nothing is stored, and the name stays free."""
    broker.cloud.fail(step, reason)
    told = await failure(broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY)))
    assert told.short == (code, reason.name)
    assert told.metadata == {"step": step, "azure_code": "FakeFailure"}
    assert await broker.store.names("connectors") == []
    assert await broker.store.names("credentials") == []
    broker.cloud.heal()
    await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))


async def test_throttling_says_when_to_come_back(broker: Broker) -> None:
    """Azure's own Retry-After reaches the caller as a duration."""
    broker.cloud.fail("log_in", BrokerError(Reason.CLOUD_THROTTLED, "later", {"step": "x"}, retry_after=7.5))
    told = await failure(broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY)))
    assert told.short == (grpc.StatusCode.UNAVAILABLE, "CLOUD_THROTTLED")
    assert told.retry_after == 7.5


async def test_missing_container(broker: Broker) -> None:
    """A connector for a container it does not reach is refused, with some of what it reaches."""
    request = new_connector(resource_id="az://nowhere")
    told = await failure(broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY)))
    assert told.short == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert told.metadata == {"resource": "az://nowhere", "connector": "azure-blob-demo"}
    assert "az://demo" in told.message


@pytest.mark.parametrize("method", ["GetConnector", "VerifyConnector", "DeleteConnector"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nobody-has-it", (grpc.StatusCode.NOT_FOUND, "CONNECTOR_NOT_FOUND")),
        ("", INVALID),
        ("../generation", INVALID),
        ("a\0", INVALID),
    ],
)
async def test_unknown_and_malformed_names(broker: Broker, method: str, name: str, expected: Any) -> None:
    """Looking at, verifying and deleting what is not there is told as such."""
    request = getattr(pb, f"{method}Request")(name=name)
    told = await failure(getattr(broker.connectors, method)(request, metadata=bearer(OPERATOR_KEY)))
    assert told.short == expected
    assert told.metadata.get("connector" if expected != INVALID else "field") in (name, "name")
