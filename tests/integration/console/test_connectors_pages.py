"""Connectors in the console: the list, the page of one, and verifying it."""

import grpc
import pytest

from support.console import Console
from support.inproc import OPERATOR_KEY, VIEWER_KEY, bearer, new_connector
from valetkey import AsyncClient
from valetkey.v1 import connector_service_pb2 as pb
from valetkey_broker.errors import Reason

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]
PAGE = "/connectors/azure-blob-demo"


async def untried(console: Console, name: str) -> None:
    """Registers a connector without verifying it."""
    request = new_connector(name, "")
    request.MergeFrom(pb.CreateConnectorRequest(no_verify=True, labels={"team": "ml"}, description="=told"))
    await console.broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))


async def test_the_list(console: Console) -> None:
    """Whoever may see connectors finds them by text, type, auth method and state; nobody else does."""
    await untried(console, "untried")
    page = (await console.as_viewer.get("/connectors")).text
    assert "1 to 2 of 2" in page
    for told in (f'href="{PAGE}"', "az://demo", "team=ml", '<span class="state unverified">', "service-connector list"):
        assert told in page
    assert "Register a connector" not in page
    assert "Register a connector" in (await console.as_operator.get("/connectors")).text
    page = (await console.as_viewer.get("/connectors?state=unverified&type=azure&auth_method=service-principal")).text
    assert ("untried" in page, f'href="{PAGE}"' in page) == (True, False)
    page = (await console.as_viewer.get("/connectors?auth_method=account-key")).text
    assert "Nothing matches" in page
    csv = (await console.as_viewer.get("/connectors?q=untried&as=csv")).text
    assert '"\'=told"' in csv
    await console.as_auditor.get("/connectors", code=403)
    # A page in the broker's own order asks for no more than it shows.
    async with AsyncClient(console.settings.endpoint, api_key=VIEWER_KEY, ca_file=console.settings.ca_file) as client:
        assert [each.name for each in await client.list_connectors(limit=1)] == ["azure-blob-demo"]


async def test_the_page_of_one(console: Console) -> None:
    """It tells configuration, versions of the credential and what it reaches, and offers what one may do."""
    page = (await console.as_viewer.get(PAGE)).text
    for told in (
        "22222222-2222-4222-8222-222222222222",
        "in use",
        "expiry not noted",
        "not noted here; <code>valetkey expiring --all</code> asks Azure, too",
        "service-connector describe",
    ):
        assert told in page
    assert "/verify" not in page
    assert "Problems in the last 24 hours" not in page
    assert f'hx-get="{PAGE}/reach"' in page
    part = (await console.as_viewer.get(f"{PAGE}/reach", hx_request="true")).text
    assert ("az://demo" in part, "<html" in part) == (True, False)
    assert "<html" in (await console.as_viewer.get(f"{PAGE}/reach")).text
    assert "drop-keys" not in page
    page = (await console.as_operator.get(PAGE)).text
    assert f'href="{PAGE}/verify"' in page
    assert "valetkey service-connector drop-keys azure-blob-demo" in page
    page = (await console.as_admin.get("/connectors/nowhere", code=404)).text
    assert "CONNECTOR_NOT_FOUND" in page
    assert page.count("Not found") == 2  # the title and the heading
    assert '<a class="button" href="/connectors">' in page


async def test_ways_on(console: Console) -> None:
    """From a connector to its resource and to a grant for it, and back; not for those who may not go there."""
    page = (await console.as_admin.get(PAGE)).text
    assert 'href="/resources/one?resource=az%3A%2F%2Fdemo"' in page
    assert 'href="/new-grant?connector=azure-blob-demo&amp;resource=az%3A%2F%2Fdemo"' in page
    assert "/new-grant" not in (await console.as_operator.get(PAGE)).text
    form = (await console.as_admin.get("/new-grant?connector=azure-blob-demo&resource=az%3A%2F%2Fdemo")).text
    assert ">demo</textarea>" in form
    part = (await console.as_viewer.get(f"{PAGE}/reach", hx_request="true")).text
    assert 'href="/resources/one?resource=https' in part
    for path in ("/resources/one?resource=az://demo", "/grants/training"):
        assert f'href="{PAGE}"' in (await console.as_admin.get(path)).text, path
    assert f'href="{PAGE}"' not in (await console.as_auditor.get("/grants/training")).text
    assert 'href="/resources/one?resource=az%3A%2F%2Fdemo"' in (await console.as_auditor.get("/grants/training")).text


async def test_what_went_wrong_lately(console: Console) -> None:
    """Those who read the ledger see it at the connector."""
    assert "no change failed" in (await console.as_admin.get(PAGE)).text
    console.broker.cloud.fail("check_container", Reason.CLOUD_CREDENTIAL_REJECTED)
    try:
        part = (await console.as_viewer.get(f"{PAGE}/reach", hx_request="true")).text
        assert "CLOUD_CREDENTIAL_REJECTED" in part
        request = new_connector("azure-blob-demo")
        with pytest.raises(grpc.RpcError):
            await console.broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))
    finally:
        console.broker.cloud.heal()
    page = (await console.as_admin.get(PAGE)).text.partition("Problems in the last 24 hours")[2]
    assert "change-failed" in page
    assert 'href="/audit/records/' in page
    assert "no change failed" not in page


async def test_verifying(console: Console) -> None:
    """A checklist, whether it works or not; what was asked for stays in the form, and in the line beside it."""
    form = (await console.as_operator.get(f"{PAGE}/verify")).text
    assert "valetkey service-connector verify azure-blob-demo" in form
    part = (await console.as_operator.post(f"{PAGE}/verify", {}, code=200, hx_request="true")).text
    assert ("azure-blob-demo works" in part, "<html" in part, 'state ok">ok' in part) == (True, False, True)
    page = (await console.as_operator.post(f"{PAGE}/verify", {"resource_id": "az://none"}, code=400)).text
    for told in ('value="az://none"', "--resource-id az://none", "Reason"):
        assert told in page
    console.broker.cloud.fail("log_in", Reason.CLOUD_CREDENTIAL_REJECTED)
    try:
        page = (await console.as_operator.post(f"{PAGE}/verify", {"probe_write": "yes"}, code=409)).text
        for told in ("CLOUD_CREDENTIAL_REJECTED", 'state failed">failed', "--probe-write", "Request <span"):
            assert told in page
    finally:
        console.broker.cloud.heal()
    await console.as_viewer.post(f"{PAGE}/verify", {}, code=403)
