"""Leases and revocations in the console: who has tokens, taking access back, and giving it again."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from support.console import Console
from support.inproc import ADMIN_KEY, CONSUMER_KEY, bearer
from valetkey.v1 import ledger_service_pb2, token_service_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]


async def issue(console: Console, *permissions: int, resource: str = "az://demo") -> str:
    """Issues a token, and returns its lease."""
    request = token_service_pb2.IssueTokenRequest(resource_id=resource, permissions=permissions or (1,))
    return (await console.broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))).lease_id


async def test_the_list_and_one_of_it(console: Console) -> None:
    """Filters are in the address; a lease leads to its grant, to the container and to an explanation."""
    lease = await issue(console)
    page = (await console.as_auditor.get("/leases")).text
    assert lease in page
    assert "valetkey lease list" in page
    for filters, there in (
        ({"principal": "key:trainer"}, True),
        ({"principal": "key:other"}, False),
        ({"resource": "az://demo", "connector": "azure-blob-demo", "grant": "training", "state": "live"}, True),
        ({"resource": "az://models"}, False),
        ({"grant": "other"}, False),
        ({"state": "ended"}, False),
        ({"q": "trainer read", "ended": "1"}, True),
    ):
        page = (await console.as_auditor.get(f"/leases?{urlencode(filters)}")).text
        assert (lease in page) is there, filters
    one = (await console.as_auditor.get(f"/leases/{lease}")).text
    for told in ("key:trainer", 'href="/grants/training"', 'href="/resources/one?resource=https', 'href="/explain?'):
        assert told in one
    # An auditor revokes nothing.
    assert "/revoke?" not in one
    await console.as_auditor.get("/leases/nothing-of-the-kind", code=404)
    await console.as_viewer.get("/leases", code=403)


async def test_a_page_of_a_container_leads_back_from_a_blob(console: Console) -> None:
    """A lease is of a blob, connectors reach containers."""
    await issue(console, resource="az://demo/runs/a.bin")
    page = (await console.as_operator.get("/resources/one?resource=az%3A%2F%2Fdemo%2Fruns%2Fa.bin")).text
    assert "azure-blob-demo" in page
    assert "key:trainer" in page.partition("Who used it")[2]


async def test_soft_and_lifted(console: Console) -> None:
    """What it hits is told first; then nobody gets tokens, until it is lifted."""
    lease = await issue(console)
    page = (await console.as_operator.get(f"/revoke?lease_id={lease}")).text
    assert "What this would affect" in page
    assert f"valetkey lease revoke {lease}" in page
    assert "principal key:trainer" in page
    form = {"lease_id": lease, "reason": "a leak", "name": hidden(page, "name")}
    answer = await console.as_operator.post("/revoke", form)
    # Sent twice, it is one revocation.
    again = await console.as_operator.post("/revoke", form)
    assert again.headers["location"] == answer.headers["location"]
    page = (await console.as_operator.follow(answer)).text
    for told in ("a leak", "waiting", "key:ops", "/lift"):
        assert told in page
    name = answer.headers["location"].rpartition("/")[2]
    listed = (await console.as_auditor.get("/revocations?q=leak")).text
    assert name in listed
    explained = (await console.as_auditor.get("/explain?resource=az%3A%2F%2Fdemo&principal=key%3Atrainer")).text
    assert "Not allowed" in explained
    assert f'href="/revocations/{name}"' in (await console.as_auditor.get(f"/leases/{lease}")).text
    assert "may get tokens again" in (await console.as_operator.get(f"/revocations/{name}/lift")).text
    answer = await console.as_operator.post(f"/revocations/{name}/lift")
    assert "Lifted: " in (await console.as_operator.follow(answer)).text
    assert name not in (await console.as_operator.get("/revocations")).text
    assert name in (await console.as_operator.get("/revocations?lifted=1")).text
    assert "/lift" not in (await console.as_operator.get(f"/revocations/{name}")).text
    await issue(console)


async def test_hard_says_what_else_it_hits(console: Console) -> None:
    """And takes a tick for that: without one nothing is revoked. How far it is, the page says by itself."""
    lease = await issue(console)
    page = (await console.as_operator.get(f"/revoke?lease_id={lease}&hard=1")).text
    assert "anybody else signed with user delegation keys" in page
    form = {"lease_id": lease, "hard": "1", "name": hidden(page, "name"), "reason": "kept"}
    refused = (await console.as_operator.post("/revoke", form, code=400)).text
    assert "please confirm" in refused
    assert 'value="kept"' in refused
    assert hidden(page, "name") not in (await console.as_operator.get("/revocations?lifted=1")).text
    answer = await console.as_operator.post("/revoke", {**form, "understood": "1"}, code=303)
    name = answer.headers["location"].rpartition("/")[2]
    page = (await console.as_auditor.get(f"/revocations/{name}")).text
    assert "demoaccount" in page
    part = (await console.as_auditor.get(f"/revocations/{name}/progress", hx_request="true")).text
    assert "<html" not in part
    await console.as_operator.post(f"/revocations/{name}/lift")


def hidden(page: str, name: str) -> str:
    """Returns the value of a hidden field."""
    found = re.search(rf'type="hidden" name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"lease_id": "nothing-of-the-kind"}, "nothing-of-the-kind"),
        ({"lease_id": "x", "grant": "training"}, "lease"),
        ({"connector": "gone"}, "gone"),
        ({"resource": "az://UPPER"}, "UPPER"),
        ({"principal": "nobody at all"}, "nobody at all"),
    ],
)
async def test_what_cannot_be_revoked(console: Console, asked: dict[str, Any], told: str) -> None:
    """The error stands at the form, which keeps what was typed."""
    answer = await console.as_operator.http.get(f"{console.as_operator.outer}/revoke?{urlencode(asked)}")
    assert told in answer.text
    assert answer.status_code in (200, 400, 404, 409)
    (field, value), *_ = asked.items()
    assert f'name="{field}" value="{value}"' in answer.text


async def test_who_may_not_is_refused(console: Console) -> None:
    """Auditors look, and nothing else; nothing is offered, and a form called by hand changes nothing."""
    assert "/revoke" not in (await console.as_auditor.get("/revocations")).text
    for browser in (console.as_auditor, console.as_viewer, console.as_consumer):
        await browser.get("/revoke", code=403)
        await browser.post("/revoke", {"principal": "key:trainer"}, code=403)
        await browser.post("/revocations/r-1/lift", code=403)
    await console.as_operator.post("/revoke", {}, code=400)
    request = ledger_service_pb2.ListLeasesRequest(principal="key:trainer")
    leases = (await console.broker.ledger.ListLeases(request, metadata=bearer(ADMIN_KEY))).leases
    assert not [lease for lease in leases if lease.state == ledger_service_pb2.LEASE_STATE_WAITING]
