"""Resources and explain in the console: who may have a container, by which grant, who had it today, and why not."""

from urllib.parse import urlencode

import pytest

from support.console import Console
from support.inproc import CONSUMER_KEY, OPERATOR_KEY, SECRET, bearer, new_connector
from valetkey.v1 import connector_service_pb2, token_service_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]


def explain(**said: str) -> str:
    return f"/explain?{urlencode(said)}"


async def test_the_list_has_errors_inline(console: Console) -> None:
    """What is reached by account and container, and why something is not; a consumer sees what it may use."""
    await console.broker.connectors.CreateConnector(new_connector("every", ""), metadata=bearer(OPERATOR_KEY))
    page = (await console.as_viewer.get("/resources")).text
    assert "1 to 4 of 4" in page
    for told in ("az://demo", "otheraccount", "https://demoaccount.", "service-connector list-resources"):
        assert told in page
    assert "1 to 1 of 1<" in (await console.as_viewer.get("/resources?account=otheraccount")).text
    assert "1 to 3 of 3<" in (await console.as_viewer.get("/resources?connector=every&sort=-resource")).text
    own = (await console.as_consumer.get("/resources?refresh=1")).text
    assert "1 to 1 of 1" in own
    assert "Refresh from the cloud" not in own
    assert "every" not in own


async def test_who_may_have_it_and_who_did_today(console: Console) -> None:
    """From a resource one sees the grants that reach it, and who had tokens for it."""
    request = token_service_pb2.IssueTokenRequest(resource_id="az://demo", permissions=[1])
    await console.broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    await console.broker.allow("key:elsewhere", name="elsewhere", containers=("other-*",))
    await console.broker.allow("key:starred", name="starred", containers=("d*o",))
    page = (await console.as_operator.get("/resources/one?resource=az%3A%2F%2Fdemo")).text
    may, _, had = page.partition("Who used it")
    for told in ('href="/grants/training"', 'href="/grants/starred"', "the whole container"):
        assert told in may
    assert "elsewhere" not in page
    assert "key:trainer" in had
    # What one may not see is not there.
    own = (await console.as_consumer.get("/resources/one?resource=az%3A%2F%2Fdemo")).text
    assert "azure-blob-demo" in own
    assert "Who used it" not in own
    token_line = 'data-copy="valetkey token issue --resource az://demo --permissions read"'
    assert (token_line in own, token_line in page) == (True, False)
    assert "starred" not in own


async def test_two_accounts_with_one_name(console: Console) -> None:
    """A name that two answer to leads to both."""
    page = (await console.as_viewer.get("/resources/one?resource=az%3A%2F%2Fmodels")).text
    assert "2 accounts have a container of this name" in page
    assert "demoaccount" in page
    assert "otheraccount" in page
    await console.as_viewer.get("/resources/one", code=400)
    page = (await console.as_viewer.get("/resources/one?resource=ftp%3A%2F%2Fx", code=400)).text
    assert "is not a resource id" in page


async def test_what_reaches_it_comes_before_what_could_not_be_checked(console: Console) -> None:
    """However many connectors cannot log in, and whatever their names: the page still says which one reaches it."""
    broken = [f"a-broken-{number:02}" for number in range(12)]
    for name in broken:
        request = new_connector(name, "", tenant_id="33333333-3333-4333-8333-333333333333")
        request.azure_secret.client_secret = "BROKEN~" + name
        await console.broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))
    console.broker.cloud.secrets = {SECRET}
    try:
        page = (await console.as_viewer.get("/resources/one?resource=az%3A%2F%2Fdemo")).text
    finally:
        console.broker.cloud.secrets = None
        for name in broken:
            gone = connector_service_pb2.DeleteConnectorRequest(name=name)
            await console.broker.connectors.DeleteConnector(gone, metadata=bearer(OPERATOR_KEY))
    assert page.index(">azure-blob-demo</a>") < page.index(">a-broken-00</a>")
    assert "and 2 more that could not be checked" in page
    assert page.count("state failed") == 10


async def test_no_grant_is_offered_where_one_allows_it(console: Console) -> None:
    """What was revoked stays so, whatever is granted besides."""
    asked = explain(resource="az://demo", principal="key:trainer", permissions="read")
    answer = await console.as_admin.post("/revoke", {"principal": "key:trainer", "reason": "for a while"})
    page = (await console.as_admin.get(asked)).text
    assert "was revoked by key:admin: for a while" in page
    assert "Create a grant for this" not in page
    await console.as_admin.post(f"{answer.headers['location']}/lift")
    assert (
        "Create a grant for this"
        in (
            await console.as_admin.get(explain(resource="az://demo", principal="key:stranger", permissions="read"))
        ).text
    )


async def test_allowed_and_why_not(console: Console) -> None:
    """By which grant, or what is missing and what would work; the address holds the question."""
    page = (
        await console.as_auditor.get(explain(resource="az://demo", principal="key:trainer", permissions="read"))
    ).text
    assert "<strong>Allowed</strong> by the grant" in page
    assert 'href="/grants/training"' in page
    assert "valetkey grant explain --resource az://demo --permissions read --principal key:trainer" in page
    assert "nobody can ask for it" not in page
    await console.broker.allow("key:gone", name="of-a-key-that-is-gone")
    page = (await console.as_auditor.get(explain(resource="az://demo", principal="key:gone", permissions="read"))).text
    assert "<strong>Allowed</strong> by the grant" in page
    assert "But nobody can ask for it now</strong>: there is no API key gone: it was revoked" in page
    page = (
        await console.as_auditor.get(explain(resource="az://demo", principal="key:trainer", permissions="move"))
    ).text
    assert "<strong>Not allowed</strong>" in page
    assert "training" in page


async def test_a_question_that_cannot_be_asked(console: Console) -> None:
    """The error stands at the form, which keeps what was typed."""
    for said, told in (
        ({"resource": "az://UPPER", "permissions": "read"}, "az://UPPER"),
        ({"resource": "az://demo", "permissions": "fly"}, "fly"),
        ({"resource": "az://demo", "permissions": "read", "ttl": "soon"}, "soon"),
        ({"resource": "az://demo", "permissions": "read", "attributes": "nonsense"}, "nonsense"),
        ({"resource": "az://demo", "sent": "1"}, "permissions"),
        ({"sent": "1", "permissions": "read"}, "Resource</a>: <span>nothing is entered"),
    ):
        page = (await console.as_admin.get(explain(**said), code=400)).text
        assert told in page
        assert 'name="resource" value="' in page


@pytest.mark.parametrize(
    "page", ["/explain", "/resources", "/resources/one", "/leases", "/revoke", "/new-grant", "/grants", "/audit"]
)
async def test_a_signature_stays_in_no_address(console: Console, page: str, caplog: pytest.LogCaptureFixture) -> None:
    """A SAS URL that is pasted where a resource is asked for: cut, told, and neither shown nor logged by us."""
    caplog.set_level("DEBUG")
    signed = "https://demoaccount.blob.core.windows.net/demo?sv=2026-02-06&sig=planted-signature"
    words = {"resource": signed, "q": signed, "permissions": "read", "Words of the link's maker": signed}
    asked = f"{page}?{urlencode(words)}"
    answer = await console.as_admin.get(asked, code=303)
    shown = await console.as_admin.follow(answer)
    assert "Resource, Search, Address: the signature of a URL was left out" in shown.text
    assert f"{page}?resource=https%3A%2F%2Fdemoaccount.blob.core.windows.net%2Fdemo&" in answer.headers["location"]
    fragment = await console.as_admin.get(asked, code=204, hx_request="true")
    nobody = await console.browser().get(asked, code=303)
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("valetkey")]
    for told in (shown.text, str(answer.headers), str(fragment.headers), str(nobody.headers), *ours):
        assert "planted" not in told


async def test_others_are_the_business_of_those_with_a_role(console: Console) -> None:
    """Who has none asks for itself; asking for others anyway, by the address, is refused by the broker."""
    form = (await console.as_consumer.get("/explain")).text
    assert 'name="principal"' not in form
    page = (await console.as_consumer.get(explain(resource="az://demo", permissions="read", ttl="5m"))).text
    assert "<strong>Allowed</strong>" in page
    assert 'data-copy="valetkey token issue --resource az://demo --permissions read --ttl 5m"' in page
    assert 'href="/grants' not in page
    page = (
        await console.as_auditor.get(explain(resource="az://demo", permissions="read", principal="key:trainer"))
    ).text
    assert ("<strong>Allowed</strong>" in page, "valetkey token issue" in page) == (True, False)
    for browser, leads_on in ((console.as_consumer, True), (console.as_viewer, False)):
        assert ('id="next"' in (await browser.get("/")).text) is leads_on
    page = (await console.as_consumer.get(explain(resource="az://other", permissions="read"))).text
    # Advice that one can follow: for whom, and of what, an admin is to be asked.
    for told in ("ask an admin of the broker", "key:trainer", "whether you get a token"):
        assert told in page
    assert "who has access to it" not in (await console.as_viewer.get("/resources")).text
    assert "who has access to it" in (await console.as_operator.get("/resources")).text
    page = (
        await console.as_consumer.get(
            explain(resource="az://demo", permissions="read", principal="key:admin"), code=403
        )
    ).text
    assert "ROLE_REQUIRED" in page


async def test_what_fails_is_told_inline(console: Console) -> None:
    """In a row of its own, with its reason; what works stays."""
    console.broker.cloud.unlistable.add("otheraccount")
    try:
        page = (await console.as_viewer.get("/resources?refresh=1")).text
        assert "could not be checked" in page
        page = (await console.as_viewer.get("/resources?state=failed")).text
    finally:
        console.broker.cloud.unlistable.clear()
    assert "otheraccount" in page
    assert "az://demo" not in page.partition("<tbody>")[2]
