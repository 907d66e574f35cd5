"""The ledger in the console: searching, following, one request, one record, and whether all of it holds."""

import asyncio
import html
import re
import time
from dataclasses import replace
from urllib.parse import urlencode

import grpc
import pytest

from support.console import Browser, Console
from support.inproc import CONSUMER_KEY, bearer
from valetkey.cli.option_choices import EventKind
from valetkey.v1 import token_service_pb2
from valetkey_broker import model
from valetkey_broker.errors import BrokerError, Reason
from valetkey_console.pages.audit.records import KINDS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]


async def test_all_kinds_can_be_asked_for() -> None:
    """The console offers what the command line offers."""
    assert set(KINDS) == {kind.value for kind in EventKind}


async def test_a_change_is_found_and_followed_through_its_request(console: Console) -> None:
    """From the list to all records of one request, and to each by itself."""
    await console.broker.allow("key:audited", name="audited")
    page = (await console.as_auditor.get("/audit?q=grants/audited")).text
    assert "valetkey audit search" in page
    requests = set(re.findall(r'href="(/audit/requests/[^"]+)"', page))
    assert len(requests) == 1
    one = (await console.as_auditor.get(requests.pop())).text
    assert one.index("change-begun") < one.index("admin-change")
    record = re.search(r'href="(/audit/records/\d+)"', page)
    assert record
    assert "Ledger position" in (await console.as_auditor.get(record[1])).text
    lost = model.Event(kind=model.EventKind.ADMIN_CHANGE, time=time.time(), request_id="lost-change", reason="INTERNAL")
    await console.broker.core.ledger.record(lost)
    assert "outcome not known" in (await console.as_auditor.get("/audit?request_id=lost-change")).text
    assert "not known as this was recorded" in (await console.as_auditor.get("/audit/requests/lost-change")).text
    assert "outcome not known" in (await console.as_auditor.get("/audit/tail/news", hx_request="true")).text


async def test_filters_are_in_the_address_and_in_the_command(console: Console) -> None:
    """What the API can search for is asked of it."""
    page = (await console.as_auditor.get("/audit?kind=denied&principal=key:nobody-there&since=1h")).text
    assert "valetkey audit search --kind denied --principal key:nobody-there --since 1h" in page
    assert "Nothing matches" in page
    since = (await console.as_auditor.get("/audit?since=1h30m")).text
    assert "valetkey audit search --since 1h30m" in since
    tail = (await console.as_auditor.get("/audit/tail?kind=denied")).text
    assert "valetkey audit search --kind denied" in tail


@pytest.mark.parametrize(
    ("name", "typed", "told"),
    [
        ("since", "yesterday", "is no time; expected a duration such as 1h"),
        ("until", "1h30", "is no time; expected a duration such as 1h"),
        ("since", "-1h", "lies ahead; expected 0s or more"),
        ("since", "1h", "1h is not before until 2h; expected a time before that of until"),
        ("kind", "odd", "expected one of token-issued"),
        ("unfinished", "yes", "is asked of the kind denied"),
        ("resource", "az://A", "names no container"),
    ],
)
async def test_a_filter_that_is_wrong_keeps_the_page(console: Console, name: str, typed: str, told: str) -> None:
    """The error stands beside the field, which keeps what was typed; following leads there, and a file is refused."""
    kind = "" if name == "kind" else "&kind=denied"
    kind += "&until=2h" if name == "since" else ""
    asked = f"/audit?connector=some-other&{urlencode({name: typed})}{kind}"
    page = (await console.as_auditor.get(asked, code=400)).text
    beside = page.partition(f'id="problem-{name}"')[2].partition("</span>")[0]
    assert told in beside
    assert all(f'value="{each}"' in page for each in ("some-other", typed))
    assert "Nothing was looked for" in page
    # Of a time it says beforehand what one looks like, to screen readers, too.
    assert 'id="hint-since" class="small">1h30m or 2026-11-27 08:00 in UTC<' in page
    assert 'aria-describedby="hint-since problem-since"' in page
    assert told in (await console.as_auditor.get(f"{asked}&as=csv", code=400)).text
    if name not in ("unfinished", "resource"):  # What the broker refuses only it knows.
        tail = await console.as_auditor.get(asked.replace("/audit", "/audit/tail"), code=303)
        assert name in tail.headers["location"]


async def test_what_comes_is_shown_and_keeps_no_log_in_alive(console: Console) -> None:
    """The page asks for a part of itself, which has the newest first and sets no cookie."""
    page = (await console.as_auditor.get("/audit/tail?kind=admin-change")).text
    assert 'hx-get="/audit/tail/news?kind=admin-change"' in page
    await console.broker.allow("key:followed", name="followed")
    part = await console.as_auditor.get("/audit/tail/news?kind=admin-change", hx_request="true")
    assert part.text.index("grants/followed") == part.text.index("grants/")
    assert "set-cookie" not in part.headers


async def test_from_a_refusal_to_what_explains_it(console: Console) -> None:
    """From the overview, the record and what comes: to the record, the resource, and the question filled in."""
    asked = token_service_pb2.IssueTokenRequest(resource_id="az://other", permissions=[1])
    with pytest.raises(grpc.RpcError):
        await console.broker.tokens.IssueToken(asked, metadata=bearer(CONSUMER_KEY))
    with pytest.raises(grpc.RpcError):
        await console.broker.tokens.IssueToken(asked, metadata=bearer("vk_unknown"))
    resource = 'href="/resources/one?resource=az%3A%2F%2Fother"'
    explain = re.compile(
        r'href="(/explain\?principal=key%3Atrainer&amp;resource=az%3A%2F%2Fother&amp;permissions=read[^"]*)"'
    )
    overview = (await console.as_admin.get("/")).text
    refused = overview.partition("Refused in the last hour")[2]
    assert "/audit?kind=authentication-failed" in refused
    record = re.search(r'href="(/audit/records/\d+)"', refused)
    assert record
    part = (await console.as_auditor.get("/audit/tail/news?kind=denied", hx_request="true")).text
    for page in (refused, part, (await console.as_auditor.get(record[1])).text):
        assert resource in page
        found = explain.search(page)
        assert found
        assert "sent=1" in found[1]
    assert "Not allowed" in (await console.as_auditor.get(html.unescape(found[1]))).text
    assert re.search(r"</span> <a class=\"small\"[^>]*>whole request", part)


async def test_how_long_issuing_would_go_on(console: Console) -> None:
    """The overview says until when without Vault and Entra, what stops first, what has stopped, and what has no key."""
    broker = console.broker

    async def told(browser: Browser = console.as_viewer, card_id: str = "issuing-left") -> str:
        card = (await browser.get("/")).text.partition(f'id="{card_id}"')[2].partition("</section>")[0]
        return " ".join(re.sub("<[^>]+>", " ", card).split())

    assert 'id="issuing-left"' not in (await console.as_consumer.get("/")).text
    broker.core.keys._entries.clear()
    assert "at once Nobody had a token lately" in await told()
    assert "ok The broker answers" in await told(card_id="health")
    asked = token_service_pb2.IssueTokenRequest(resource_id="az://demo", permissions=[1])
    await broker.tokens.IssueToken(asked, metadata=bearer(CONSUMER_KEY))
    page = await told()
    assert "Without Vault goes on for 59 min" in page or "Without Vault goes on for 1 h" in page
    assert re.search("Without Entra goes on for 23 h 5[0-9] min, until", page)
    assert "The first to stop: azure-blob-demo on demoaccount" in page
    assert "/connectors/azure-blob-demo" in (await console.as_operator.get("/")).text
    assert "/connectors/azure-blob-demo" not in (await console.as_auditor.get("/")).text
    (entry,) = broker.core.keys._entries.values()
    assert entry.key
    entry.key = replace(entry.key, expires=time.time() - 7_200)
    broker.cloud.fail("signing_key", Reason.CLOUD_UNAVAILABLE)
    broker.store.fail_with = BrokerError(Reason.VAULT_UNAVAILABLE, "away", {"cause": "unreachable"})
    try:
        with pytest.raises(grpc.RpcError):
            await broker.tokens.IssueToken(asked, metadata=bearer(CONSUMER_KEY))
        async with asyncio.timeout(60):
            while "away Vault has not answered since" not in (page := await told(console.as_auditor)):  # noqa: ASYNC110 (it is read off the page)
                await asyncio.sleep(0.05)
        # Who looks at the first card only is told, too, and an auditor, who has no such card else.
        for browser in (console.as_viewer, console.as_auditor):
            health = await told(browser, "health")
            assert re.search("Health away Vault is away since .+ UTC ?; .+ still issued until .+ UTC", health), health
            assert " ok " not in health
        endings = (await console.as_viewer.get("/endings", hx_request="true")).text
        assert "Vault has not answered since" in endings
        assert "ends soon" not in endings or "Nothing else ends soon" in endings
    finally:
        broker.cloud.heal()
        broker.store.fail_with = None
    assert "Without Entra stopped" in page
    assert "The first that stopped: azure-blob-demo on demoaccount ; no new key since" in page


async def test_the_ledger_is_verified(console: Console) -> None:
    """Only by the form, of our own page; then the result comes as a part of the page, or with all of it."""
    for path in ("/audit/verify", "/audit/verify?run=1"):
        page = (await console.as_auditor.get(path)).text
        assert '<form novalidate method="post" hx-post="" hx-target="#result"' in page
        assert "hx-trigger" not in page
        assert "The ledger is intact:" not in page
    part = (await console.as_auditor.post("/audit/verify", code=200, hx_request="true")).text
    assert "The ledger is intact:" in part
    assert "<html" not in part
    page = (await console.as_auditor.post("/audit/verify", code=200)).text
    assert "The ledger is intact:" in page
    assert "<html" in page
    await console.as_auditor.post(
        "/audit/verify", code=403, origin="https://elsewhere.example", sec_fetch_site="cross-site"
    )
    assert (
        "It needs one of the roles admin, auditor" in (await console.as_operator.post("/audit/verify", code=403)).text
    )


async def test_who_may_not_read_the_ledger(console: Console) -> None:
    """Operators and viewers are told which role it takes, at each address."""
    for path in ("/audit", "/audit/tail", "/audit/verify", "/audit/records/1", "/audit/requests/x"):
        assert "It needs one of the roles admin, auditor" in (await console.as_operator.get(path, code=403)).text
    assert 'href="/audit"' not in (await console.as_viewer.get("/")).text


async def test_records_that_are_not_there(console: Console) -> None:
    """A number that is none, or too large, is not found, and a request without records says why."""
    for name in ("999999999", "0", "-1", "x", "9" * 30):
        await console.as_auditor.get(f"/audit/records/{name}", code=404)
    assert (
        "Refusals and changes are recorded, reads are not."
        in (await console.as_auditor.get("/audit/requests/nothing")).text
    )
