"""Making, changing and deleting grants in the console, as `valetkey grant` does it."""

import html
import re
from typing import Any

import pytest

from support.console import Console
from support.inproc import ADMIN_KEY, CONSUMER_KEY, bearer
from valetkey.v1 import grant_service_pb2, token_service_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]
EXPLAINED = "/explain?resource=az%3A%2F%2Fdemo%2Fruns&principal=key%3Anewcomer&permissions=read"


def form(name: str, **more: Any) -> dict[str, Any]:
    """Returns what a browser sends of the form."""
    return {
        "name": name,
        "principals": "key:newcomer",
        "connectors": ["azure-blob-demo"],
        "containers": "demo",
        "role": "deployer",
        **more,
    }


async def stored(console: Console, name: str) -> grant_service_pb2.Grant:
    request = grant_service_pb2.GetGrantRequest(name=name)
    return (await console.broker.grants.GetGrant(request, metadata=bearer(ADMIN_KEY))).grant


async def test_from_a_refusal_to_a_grant(console: Console) -> None:
    """An admin who finds out why somebody is refused gets to the form, filled in; and then it is allowed."""
    refused = (await console.as_admin.get(EXPLAINED)).text
    assert "Not allowed" in refused
    path = html.unescape(refused.partition('href="/new-grant')[2].partition('"')[0])
    page = (await console.as_admin.get(f"/new-grant{path}")).text
    assert 'value="newcomer-demo"' in page
    assert ">key:newcomer</textarea>" in page
    assert ">runs</textarea>" in page
    # The one connector that there is.
    assert page.count(" checked") == 3
    answer = await console.as_admin.post("/new-grant", form("newcomer-demo", prefixes="runs\nmodels"))
    assert answer.headers["location"] == "/grants/newcomer-demo"
    shown = (await console.as_admin.follow(answer)).text
    assert "is created and in effect" in shown
    assert "runs" in shown
    assert "<strong>Allowed</strong>" in (await console.as_admin.get(EXPLAINED)).text
    # Who may not make grants is not offered one.
    assert "/new-grant" not in (await console.as_operator.get(EXPLAINED)).text


async def test_the_command_beside_an_empty_form(console: Console) -> None:
    """It has words for what is to be filled in, and names no permissions where none are chosen."""
    page = html.unescape((await console.as_admin.get("/new-grant")).text)
    line = page.partition('data-copy="')[2].partition('"')[0]
    assert line == (
        "valetkey grant create NAME --principal PRINCIPAL --connector azure-blob-demo --container CONTAINER "
        "--role deployer"
    )
    sent = form("", connectors=["azure-blob-demo=an-id"], permissions=["read"], role="")
    page = html.unescape((await console.as_admin.post("/new-grant", sent, code=400)).text)
    assert "--connector azure-blob-demo --container demo --permissions read" in page


async def test_all_that_a_grant_says(console: Console) -> None:
    """Every field arrives, and the form of a change shows each; nothing of it is lost by saving it as it is."""
    more = {
        "role": "",
        "permissions": ["read", "list"],
        "max_ttl": "1h30m",
        "attributes": "namespace=ml-*",
        "source_ip": "203.0.113.7",
        "expires": "2999-01-01",
        "note": "a note \u2764\ufe0f",
        "labels": "team=ml",
    }
    await console.as_admin.post("/new-grant", form("full", **more))
    before = await stored(console, "full")
    assert before.max_ttl.seconds == 5400
    assert dict(before.attributes) == {"namespace": "ml-*"}
    page = (await console.as_admin.get("/grants/full/edit")).text
    for told in ("1h30m", "namespace=ml-*", "203.0.113.7", "2999-01-01T00:00:00Z", "a note \u2764\\u{fe0f}", "team=ml"):
        assert told in page
    connector = f"azure-blob-demo={before.connectors[0].uid}"
    assert f'value="{connector}" checked' in page
    shown = {"expires": "2999-01-01T00:00:00Z", "note": "a note \u2764\\u{fe0f}"}
    sent = form("full", **{**more, "connectors": [connector], "version": "1", **shown})
    await console.as_admin.post("/grants/full/edit", sent)
    after = await stored(console, "full")
    assert after.version == 2
    after.version = 1
    assert after == before


async def test_either_a_role_or_permissions(console: Console) -> None:
    """The form says which of them counts, whatever else is still ticked in it; a change begins with what is there."""
    both = {"role": "deployer", "permissions": ["write"]}
    await console.as_admin.post("/new-grant", form("by-role", **both, access="role"))
    assert (await stored(console, "by-role")).consumer_role == grant_service_pb2.CONSUMER_ROLE_DEPLOYER
    assert 'value="role" checked' in (await console.as_admin.get("/grants/by-role/edit")).text
    await console.as_admin.post("/new-grant", form("by-permissions", **both, access="permissions"))
    assert list((await stored(console, "by-permissions")).permissions) == [4]  # write
    assert 'value="permissions" checked' in (await console.as_admin.get("/grants/by-permissions/edit")).text
    page = (
        await console.as_admin.post("/new-grant", form("none", role="deployer", access="permissions"), code=400)
    ).text
    for told in (
        'value="permissions" checked',
        'href="#field-permissions"',
        "--container demo --permissions PERMISSIONS",
    ):
        assert told in page
    # What is required says so to those who see it, and by itself to those who listen.
    assert '>Principals<span class="mark" aria-hidden="true"> required</span>' in page
    assert 'name="principals" rows="3" autocomplete="off" spellcheck="false" required' in page
    assert '>Path prefixes<span class="mark"> optional</span>' in page


async def test_warnings_of_the_broker_are_told(console: Console) -> None:
    """A grant that is hardly meant is stored, and the page after says so."""
    answer = await console.as_admin.post("/new-grant", form("wide", principals="key:*", containers="demo\ndemos"))
    page = (await console.as_admin.follow(answer)).text
    assert "<ul><li>" in page.replace("\n", "")
    assert "its connectors reach no container demos now, but demo: change the grant if that was meant" in page


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"name": "NO NAME"}, "Name</a>: "),
        ({"principals": "nobody"}, "Principals</a>: "),
        ({"role": "", "permissions": []}, "none is selected"),
        ({"permissions": ["read"]}, "both a role and permissions"),
        ({"permissions": ["fly"], "role": ""}, "fly"),
        ({"role": "king"}, "king"),
        ({"connectors": []}, "Connectors</a>: <span>none is selected"),
        ({"connectors": ["gone"]}, "gone"),
        ({"max_ttl": "soon"}, "soon"),
        ({"expires": "tomorrow"}, "tomorrow"),
        ({"labels": "x"}, "Labels</a>: "),
        ({"name": "training"}, "taken"),
    ],
)
async def test_what_cannot_be_stored_stays_in_the_form(console: Console, changed: dict[str, Any], told: str) -> None:
    """With the reason, and all that was typed."""
    sent = form("unstored", note="typed with care") | changed
    answer = await console.as_admin.http.post(
        "/new-grant", data=sent, headers={"origin": console.as_admin.outer, "sec-fetch-site": "same-origin"}
    )
    assert answer.status_code in (400, 404, 409), answer.text
    assert told in answer.text
    assert 'value="typed with care"' in answer.text


async def test_all_mistakes_of_a_form_come_in_one_answer(console: Console) -> None:
    """In the order of the page: each in the summary, which leads there, and at its field."""
    wrong = {"principals": " ", "connectors": [], "containers": "", "role": "", "max_ttl": "soon", "expires": "someday"}
    page = (await console.as_admin.post("/new-grant", form("", **wrong, labels="x"), code=400)).text
    fields = ("name", "principals", "connectors", "containers", "permissions", "max_ttl", "expire_time", "labels")
    assert re.findall(r'data-field="field-(\w+)"', page) == list(fields)
    for name in fields:
        assert re.search(rf'id="field-{name}-problem" class="problem">[^<]', page), name
    assert page.count(' aria-invalid="true"') == len(fields) - 2  # A group of boxes is none.


async def test_somebody_else_was_faster(console: Console) -> None:
    """Nothing is overwritten; the page says so, keeps what was typed, and leads to the grant as it is now."""
    await console.as_admin.post("/new-grant", form("contested"))
    await console.as_admin.post("/grants/contested/edit", form("contested", version="1", note="first"))
    answer = await console.as_admin.post(
        "/grants/contested/edit", form("contested", version="1", note="second"), code=409
    )
    assert "Somebody else changed it first" in answer.text
    assert "Load the grant as it is now" in answer.text
    assert 'value="second"' in answer.text
    assert (await stored(console, "contested")).note == "first"


async def test_deleting_says_first_what_goes_along(console: Console) -> None:
    """Whose streams end, and how many tokens live on."""
    await console.broker.allow(name="passing")
    await console.broker.grants.DeleteGrant(
        grant_service_pb2.DeleteGrantRequest(name="training"), metadata=bearer(ADMIN_KEY)
    )
    request = token_service_pb2.IssueTokenRequest(resource_id="az://demo", permissions=[1])
    await console.broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    page = (await console.as_admin.get("/grants/passing/delete")).text
    assert "1 issued token stays valid" in page
    assert "key:trainer" in page
    answer = await console.as_admin.post("/grants/passing/delete")
    assert "The grant passing is deleted." in (await console.as_admin.follow(answer)).text
    await console.as_admin.get("/grants/passing", code=404)
    await console.as_admin.post("/grants/passing/delete", code=404)
    await console.broker.allow()


async def test_who_may_not_is_refused(console: Console) -> None:
    """Nothing is offered, and a form that is called by hand anyway changes nothing."""
    page = (await console.as_operator.get("/grants/training")).text
    assert "/edit" not in page
    assert "/new-grant" not in (await console.as_operator.get("/grants")).text
    for path in ("/new-grant", "/grants/training/edit", "/grants/training/delete"):
        await console.as_operator.get(path, code=403)
        await console.as_operator.post(path, form("sneaked"), code=403)
        await console.as_viewer.post(path, form("sneaked"), code=403)
    await console.as_admin.get("/grants/sneaked", code=404)


async def test_grants_that_reach_a_container(console: Console) -> None:
    """The list can be cut down to them, by pattern too."""
    await console.broker.allow("key:any", name="patterned", containers=("mod*",))
    page = (await console.as_auditor.get("/grants?container=az%3A%2F%2Fmodels")).text
    assert "patterned" in page
    assert "/grants/training" not in page
