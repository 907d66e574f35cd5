"""What a broker tells of itself while it is used: every metric there is, and nothing about anybody."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from support.inproc import ADMIN_KEY, CONSUMER_KEY, Broker, bearer, new_connector, running_broker
from support.scraping import get, scrape, until_scraped
from valetkey.v1 import connector_service_pb2, grant_service_pb2
from valetkey.v1 import token_service_pb2 as pb
from valetkey_broker.metrics.catalog import OF_SUPERVISOR, OF_WORKERS, OTHER, Kind, Metric
from valetkey_devstack.free_ports import free_port

ISSUE = "valetkey.v1.TokenService/IssueToken"
# Of OpenBao alone, or of client certificates.
NOT_HERE = {"valetkey_vault_token_remaining_seconds", "valetkey_vault_secret_id_remaining_seconds"}


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with running_broker(tmp_path, metrics={"port": free_port()}) as running:
        await running.ready()
        request = new_connector()
        request.expire_time.FromJsonString("2998-01-01T00:00:00Z")
        await running.connectors.CreateConnector(request, metadata=bearer(ADMIN_KEY))
        await running.allow()
        yield running


async def issue(broker: Broker, resource: str = "az://demo", connector: str = "") -> None:
    request = pb.IssueTokenRequest(resource_id=resource, permissions=[1], connector=connector)
    await broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))


def port_of(broker: Broker) -> int:
    port = broker.settings.metrics.port
    assert port is not None
    return port


def sample(metric: Metric) -> str:
    return f"{metric.name}_count" if metric.kind is Kind.HISTOGRAM else metric.name


async def test_every_metric_is_told_and_names_nobody(broker: Broker) -> None:
    """Whoever builds on a metric finds it; no caller, account or container, nor what a caller makes up, is in it."""
    port = port_of(broker)
    await issue(broker)
    for resource, connector in (("az://demo", "made-up-by-a-caller"), ("az://secret-plans", "")):
        with pytest.raises(grpc.aio.AioRpcError):
            await issue(broker, resource, connector)
    with pytest.raises(grpc.aio.AioRpcError):
        await broker.channel.unary_unary("/valetkey.v1.TokenService/MadeUp")(b"")
    stream = broker.tokens.WatchToken(
        pb.WatchTokenRequest(request=pb.IssueTokenRequest(resource_id="az://demo", permissions=[1])),
        metadata=bearer(CONSUMER_KEY),
    )
    await stream.read()
    told = await until_scraped(port, lambda found: found.value("valetkey_open_streams") == 1)
    names = {each.name for each in told.samples}
    expected = {sample(each) for each in (*OF_WORKERS, *OF_SUPERVISOR)} - NOT_HERE
    assert expected - names == {"valetkey_trust_bundle_remaining_seconds"}
    assert {
        name for name in names if name.startswith("valetkey_") and not name.endswith(("_bucket", "_sum"))
    } <= expected
    assert "process_cpu_seconds_total" in names
    for planted in ("trainer", "demoaccount", "secret-plans", "made-up", "MadeUp", "127.0.0.1"):
        assert planted not in told.text
    assert told.value("valetkey_tokens_issued_total", connector="azure-blob-demo") == 2
    assert told.value("valetkey_tokens_refused_total", connector=OTHER, reason="RESOURCE_DENIED") == 2
    assert told.value("valetkey_requests_total", method=ISSUE, code="OK") == 1
    assert told.value("valetkey_requests_total", method=ISSUE, code="PERMISSION_DENIED") == 2
    assert told.value("valetkey_requests_total", method=OTHER, code="UNIMPLEMENTED") == 1
    assert told.value("valetkey_request_seconds_count", method=ISSUE) == 3
    assert told.value("valetkey_request_seconds_bucket", method=ISSUE, le="+Inf") == 3
    assert told.value("valetkey_worker_up", worker="0") == 1
    stream.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await stream.read()
    watched = {"method": "valetkey.v1.TokenService/WatchToken", "code": "CANCELLED"}
    left = await until_scraped(port, lambda found: found.value("valetkey_requests_total", **watched))
    assert left.value("valetkey_requests_total", **watched) == 1
    await until_scraped(port, lambda found: found.value("valetkey_open_streams") == 0)


async def test_probes_follow_health(broker: Broker) -> None:
    """Ready is who can answer requests; alive is also who waits for Vault."""
    port = port_of(broker)
    assert await asyncio.to_thread(get, port, "/readyz") == (200, "ok\n")
    broker.server.set_serving(False)
    async with asyncio.timeout(30):
        while (await asyncio.to_thread(get, port, "/readyz"))[0] != 503:  # noqa: ASYNC110 (it is asked, as a prober does)
            await asyncio.sleep(0.1)
    assert await asyncio.to_thread(get, port, "/healthz") == (200, "ok\n")
    assert (await scrape(port)).value("valetkey_serving") == 0


async def test_a_connector_that_goes_leaves_no_label(broker: Broker) -> None:
    """Names that are registered no more do not stay for ever; what was counted under them is not lost."""
    await issue(broker)
    await until_scraped(port_of(broker), lambda found: found.value("valetkey_tokens_issued_total") == 1)
    await broker.grants.DeleteGrant(grant_service_pb2.DeleteGrantRequest(name="training"), metadata=bearer(ADMIN_KEY))
    request = connector_service_pb2.DeleteConnectorRequest(name="azure-blob-demo")
    await broker.connectors.DeleteConnector(request, metadata=bearer(ADMIN_KEY))
    told = await until_scraped(port_of(broker), lambda found: "azure-blob-demo" not in found.text)
    assert told.value("valetkey_tokens_issued_total", connector=OTHER) == 1
