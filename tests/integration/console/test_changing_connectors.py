"""Rotating, updating and deleting connectors in the console."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.console import Browser, Console
from support.inproc import OPERATOR_KEY, SECRET, TENANT, bearer, new_connector
from valetkey.v1 import connector_service_pb2 as pb
from valetkey_broker.errors import Reason

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]
NEW, WRONG = "NEW~typed.secret", "WRONG~typed.secret"
BOUND = "/connectors/azure-blob-demo"


@pytest_asyncio.fixture(loop_scope="module")
async def page(console: Console, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Returns the page of a connector that only this test has; the cloud takes two secrets."""
    name = re.sub(r"[^a-z]+", "-", request.node.name)[:60].strip("-")
    console.broker.cloud.secrets = {SECRET, NEW}
    await console.broker.connectors.CreateConnector(new_connector(name), metadata=bearer(OPERATOR_KEY))
    yield f"/connectors/{name}"
    console.broker.cloud.secrets = None
    console.broker.cloud.heal()


async def connector(console: Console, page: str) -> pb.Connector:
    """Returns a connector as it is stored."""
    request = pb.GetConnectorRequest(name=page.rpartition("/")[2])
    return (await console.broker.connectors.GetConnector(request, metadata=bearer(OPERATOR_KEY))).connector


async def watched(browser: Browser, page: str, state: str) -> str:
    """Returns the part that renews itself once it tells a state."""
    async with asyncio.timeout(60):
        while True:
            part = (await browser.get(f"{page}/rotation/part", hx_request="true")).text
            if f'<span class="state {state}">' in part:
                return part
            await asyncio.sleep(0.05)


async def test_rotating_to_a_given_secret_and_back(console: Console, page: str) -> None:
    """The form leads to a page that shows the rotation until it is over, and what was before can be had back."""
    browser = console.as_operator
    form = (await browser.get(f"{page}/rotate")).text
    for told in ('name="given.client_secret" type="password"', "--client-secret @FILE", "rotate-by-itself", TENANT):
        assert told in form
    assert "There is no earlier version to go back to." in (await browser.get(f"{page}/rollback")).text
    answer = await browser.post(f"{page}/rotate", {"given.client_secret": NEW}, code=204, hx_request="true")
    assert answer.headers["hx-redirect"] == f"{page}/rotation"
    part = await watched(console.as_viewer, page, "done")
    assert ("hx-trigger" in part, NEW in part) == (False, False)
    assert "Version now" in (await console.as_viewer.get(f"{page}/rotation")).text
    assert (await connector(console, page)).credential_version == 2
    back = (await browser.get(f"{page}/rollback")).text
    assert "Roll back to version 1" in back
    await browser.post(f"{page}/rollback", {"version": "1"})
    await watched(browser, page, "done")
    assert (await connector(console, page)).credential_version == 3
    assert "this would undo that rollback" in (await browser.get(f"{page}/rollback")).text
    assert "back from 1" in (await console.as_viewer.get(page)).text
    await browser.post(f"{page}/rollback", {"version": "1e9"}, code=404)


async def test_a_rotation_under_way_is_watched_and_taken_back(console: Console, page: str) -> None:
    """Its page asks again by itself, shows the same after a reload, and offers to take it back as long as that goes."""
    browser = console.as_operator
    answer = await browser.post(f"{page}/rotate", {"given.client_secret": WRONG, "prove_for": "10m"})
    shown = (await browser.follow(answer)).text
    for told in ('hx-trigger="every 1s"', f'hx-get="{page}/rotation/part"', f'action="{page}/abort"', "--abort"):
        assert told in shown
    assert "/abort" not in (await console.as_viewer.get(f"{page}/rotation")).text
    assert "A rotation is in progress" in (await console.as_viewer.get(page)).text
    busy = (await browser.post(f"{page}/rotate", {"given.client_secret": NEW}, code=409)).text
    assert "ROTATION_UNDER_WAY" in busy
    part = (await browser.post(f"{page}/rotate", {"given.client_secret": NEW}, code=409, hx_request="true")).text
    link = f'<a href="{page}/rotation">'
    assert f"{link}Watch that rotation, or abort it</a>" in part
    for form in ("rotate", "rotate-by-itself"):
        text = (await browser.get(f"{page}/{form}")).text
        assert ("A rotation is in progress" in text, link in text) == (True, True)
    await browser.post(f"{page}/abort")
    part = await watched(browser, page, "aborted")
    assert ("hx-trigger" in part, "Try again" in part) == (False, True)
    assert WRONG not in shown + part + busy
    assert "A rotation is in progress" not in (await browser.get(f"{page}/rotate")).text
    assert (await connector(console, page)).credential_version == 1
    await console.as_viewer.post(f"{page}/abort", code=403)


async def test_a_part_that_cannot_be_had(console: Console, page: str) -> None:
    """Says why, and goes on asking: the broker may be away for a moment."""
    part = (await console.as_viewer.get(f"{page}/rotation/part", hx_request="true")).text
    for told in ("ROTATION_NOT_FOUND", 'hx-trigger="every 1s"', "This page keeps asking."):
        assert told in part


async def test_rotating_by_itself(console: Console, page: str) -> None:
    """What the cloud does not let the broker do is said at the form, with what was chosen."""
    form = {"at_once": "yes", "prove_for": "soon"}
    shown = (await console.as_operator.post(f"{page}/rotate-by-itself", form, code=400)).text
    assert "expected one such as 15m" in shown
    assert 'value="soon"' in shown
    assert 'href="#field-prove_for"' in shown
    assert 'name="given.client_secret"' not in shown
    shown = (await console.as_operator.get(f"{page}/schedule")).text
    assert "--rotate-every 30d" in shown
    shown = (await console.as_operator.post(f"{page}/schedule", {"every": "", "do": "set"}, code=400)).text
    assert "expected a duration such as 30d" in shown


async def test_where_it_would_lead_elsewhere(console: Console) -> None:
    """What grants come to mean is said before anything begins; the secret that was typed is not shown."""
    form = {"given.client_secret": NEW, "given.client_id": "33333333-3333-4333-8333-333333333333"}
    asked = (await console.as_admin.post(f"{BOUND}/rotate", form, code=200, hx_request="true")).text
    for told in ("to 33333333-3333-4333-8333-333333333333", 'name="confirmed"', "/grants/training", "key:trainer"):
        assert told in asked
    assert NEW not in asked
    emptied = {"given.client_secret": NEW, "given.client_id": ""}
    asked = (await console.as_admin.post(f"{BOUND}/rotate", emptied, code=200, hx_request="true")).text
    assert "Client ID changes from 22222222-2222-4222-8222-222222222222 to none" in asked
    assert "/rotation" not in (await console.as_viewer.get(BOUND)).text


async def test_updating(console: Console, page: str) -> None:
    """Only what differs is changed; what is emptied is taken away; without a change, nothing is."""
    browser = console.as_operator
    form = _fields((await browser.get(f"{page}/update")).text)
    assert form["given.tenant_id"] == TENANT
    assert "nothing was changed in the form" in (await browser.post(f"{page}/update", form, code=400)).text
    changed = form | {"description": "<i>ours</i>", "labels": "team=ml\r\ntier=", "expire_time": "2999-01-01"}
    await browser.post(f"{page}/update", changed)
    now = await connector(console, page)
    assert (now.description, dict(now.labels), now.azure.tenant_id) == (
        "<i>ours</i>",
        {"team": "ml", "tier": ""},
        TENANT,
    )
    assert "reload the page" in (await browser.post(f"{page}/update", changed, code=409)).text
    form = _fields((await browser.get(f"{page}/update")).text)
    assert (form["description"], form["labels"]) == ("<i>ours</i>", "team=ml\ntier=")
    await browser.post(f"{page}/update", form | {"description": "\u2764\ufe0f"})
    form = _fields((await browser.get(f"{page}/update")).text)
    assert form["description"] == "\u2764\\u{fe0f}"  # what cannot be seen is written out, and not stored like that
    await browser.post(f"{page}/update", form | {"labels": "team=ml"})
    assert (await connector(console, page)).description == "\u2764\ufe0f"
    form = _fields((await browser.get(f"{page}/update")).text)
    await browser.post(f"{page}/update", form | {"description": "", "labels": "team=ml", "expire_time": ""})
    now = await connector(console, page)
    assert (now.description, dict(now.labels), now.HasField("expire_time")) == ("", {"team": "ml"}, False)


async def test_an_update_that_does_not_work(console: Console, page: str) -> None:
    """Nothing is changed, what was typed stays, and it can be made all the same."""
    browser = console.as_operator
    form = _fields((await browser.get(f"{page}/update")).text) | {"given.resource_group": "ours"}
    console.broker.cloud.fail("log_in", Reason.CLOUD_CREDENTIAL_REJECTED)
    shown = (await browser.post(f"{page}/update", form, code=409)).text
    for told in ("Nothing was changed.", 'value="ours"', "--resource-group ours", 'value="unverified"'):
        assert told in shown
    assert (await connector(console, page)).azure.resource_group == ""
    await browser.post(f"{page}/update", form | {"do": "unverified"})
    now = await connector(console, page)
    assert (now.unverified, now.azure.resource_group) == (True, "ours")


async def test_what_update_asks_of_bound_grants(console: Console) -> None:
    """As rotating does."""
    form = _fields((await console.as_admin.get(f"{BOUND}/update")).text) | {"resource_id": "az://models"}
    asked = (await console.as_admin.post(f"{BOUND}/update", form, code=200)).text
    for told in ("Resource changes from az://demo to az://models", 'name="confirmed"', "/grants/training"):
        assert told in asked
    await console.as_operator.post(f"{BOUND}/update", form | {"confirmed": "yes"}, code=403)
    assert (await connector(console, BOUND)).resource_id == "az://demo"


async def test_deleting(console: Console, page: str) -> None:
    """What goes along is said, and its name has to be typed."""
    browser = console.as_operator
    shown = (await browser.get(f"{BOUND}/delete")).text
    for told in (
        "These grants stop working",
        "/grants/training",
        "No issued token is still valid.",
        "service-connector delete",
    ):
        assert told in shown
    shown = (await browser.get(f"{page}/delete")).text
    assert "No grant names it." in shown
    shown = (await browser.post(f"{page}/delete", {"confirm": "another"}, code=400)).text
    assert "Nothing was deleted" in shown
    name = page.rpartition("/")[2]
    answer = await browser.post(f"{page}/delete", {"confirm": name})
    assert f"{name} is deleted." in (await browser.follow(answer)).text
    await browser.get(page, code=404)
    await console.as_viewer.post(f"{BOUND}/delete", {"confirm": "azure-blob-demo"}, code=403)


def _fields(page: str) -> dict[str, str]:
    """Returns what a form of a page holds, as a browser would send it."""
    main = page.partition("<main")[2]
    inputs = re.findall(r'<input [^>]*name="([^"]+)"(?: type="hidden")? value="([^"]*)"', main)
    areas = re.findall(r'<textarea [^>]*name="([^"]+)"[^>]*>([^<]*)</textarea>', main)
    found = {name: value.replace("&lt;", "<").replace("&gt;", ">") for name, value in [*inputs, *areas]}
    return found | {"do": "update"}
