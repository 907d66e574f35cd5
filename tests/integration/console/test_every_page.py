"""Every page that links lead to, with values in it that would be more than text if somebody let them.

The pages are found by following links, so that a new one is looked at, too.
"""

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import httpx2
import pytest
import pytest_asyncio

from support.console import Console
from support.console_pages import Page, walk
from support.inproc import ADMIN_KEY, AUDITOR_KEY, CONSUMER_KEY, OPERATOR_KEY, bearer, make_key, new_connector
from support.leaks import found_in
from valetkey import AsyncClient, GrantSpec, ValetKeyError, api_key_sha256
from valetkey.v1 import token_service_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]

MARKUP = "<x-planted onmouseover=alert(1)>\"'`{{7*7}}</x-planted><script>x</script>"
HIDDEN = "a\u202eb"
LONG = "n" * 1_200


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planted(console: Console) -> AsyncIterator[Console]:
    """A console before a broker in which callers have put odd values wherever the API lets them."""
    ca = console.settings.ca_file
    async with (
        AsyncClient(console.settings.endpoint, api_key=ADMIN_KEY, ca_file=ca) as admin,
        AsyncClient(console.settings.endpoint, api_key=CONSUMER_KEY, ca_file=ca) as consumer,
    ):
        for number, text in enumerate((MARKUP, HIDDEN, LONG, "=1+1")):
            spec = GrantSpec(
                principals=["key:trainer"], connectors=["azure-blob-demo"], containers=["demo"], permissions=["read"]
            )
            await _as_much_as_fits(admin, f"odd-{number}", spec, text)
            request = new_connector(f"odd-connector-{number}")
            request.description = text
            await _tried(console.broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY)))
            for resource in ("az://demo", "az://other"):
                asked = token_service_pb2.IssueTokenRequest(resource_id=resource, permissions=[1], purpose=text)
                await _tried(console.broker.tokens.IssueToken(asked, metadata=bearer(CONSUMER_KEY)))
            await _tried(consumer.issue_token(f"az://demo/{text[:200]}", ["read"]))
        await admin.create_api_key(
            "odd-key", key_sha256=api_key_sha256(make_key("Q")), expire_time=datetime.now(UTC) + timedelta(hours=1)
        )
    yield console


async def _as_much_as_fits(admin: AsyncClient, name: str, spec: GrantSpec, text: str) -> None:
    """Creates a grant with `text` as its note and label, or as much of it as the API takes."""
    for note, labels in ((text, {"odd": text}), (text, {}), (text[:200], {})):
        if await _tried(admin.create_grant(name, replace(spec, note=note, labels=labels))):
            return


async def _tried(call: Awaitable[object]) -> bool:
    """Tells whether the broker took it."""
    try:
        await call
    except (grpc.RpcError, ValetKeyError):
        return False
    return True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pages(planted: Console) -> Mapping[str, str]:
    """All pages that an admin gets to."""
    return await walk(planted.as_admin, "/")


async def test_no_value_is_more_than_text(pages: Mapping[str, str]) -> None:
    """Neither markup nor what cannot be seen; and there is no script, style or address in a page that is not ours."""
    assert len(pages) >= 8
    assert any("&lt;x-planted" in text for text in pages.values())
    faults = {}
    for path, text in pages.items():
        if text.startswith("<!doctype"):
            page = Page(text)
            planted = [f"an element {tag}" for tag in page.elements if tag == "x-planted"]
            if found := page.faults + planted:
                faults[path] = found
    assert faults == {}


async def test_every_page_can_be_used_without_a_mouse_and_read_aloud(pages: Mapping[str, str]) -> None:
    """One heading, a language, a way past the navigation, and no element without its end."""
    for path, text in pages.items():
        if text.startswith("<!doctype"):
            page = Page(text)
            assert page.elements.count("h1") == 1, path
            assert 'lang="en"' in text, path
            assert 'href="#content"' in text, path


async def test_no_form_is_checked_by_the_browser(pages: Mapping[str, str], console: Console) -> None:
    """Its bubbles have words and a language of their own: what is missing is said by the page, as all that is wrong."""
    forms = [form for text in pages.values() for form in re.findall("<form[^>]*>", text)]
    forms += re.findall("<form[^>]*>", (await console.browser().http.get("/login")).text)
    assert len(forms) > len(pages)
    assert [form for form in forms if " novalidate " not in f"{form[:-1]} "] == []


async def test_files_hold_no_formula(pages: Mapping[str, str]) -> None:
    """No cell of a CSV begins as one would."""
    files = {path: text for path, text in pages.items() if "as=csv" in path}
    assert files
    for path, text in files.items():
        for start in ('"=', '"+', '"-', '"@', '"\t'):
            assert f",{start}" not in text, path
            assert not text.startswith(start), path


async def test_nothing_is_told_of_secrets(planted: Console, caplog: pytest.LogCaptureFixture) -> None:
    """No page, no file, no header and no line of the log holds a key or a secret, in whatever form; cookies neither."""
    caplog.set_level(logging.DEBUG)
    headers: list[str] = []

    async def heard(answer: httpx2.Response) -> None:
        headers.extend(f"{name}: {value}" for name, value in answer.headers.items())

    for key in (ADMIN_KEY, AUDITOR_KEY, CONSUMER_KEY):
        browser = planted.browser()
        browser.http.event_hooks["response"] = [heard]
        await browser.log_in(key)
        seen = await walk(browser, "/", most=40)
        for path, text in seen.items():
            assert not found_in(text), path
        assert not found_in("\n".join(browser.http.cookies.values()))
        await browser.post("/logout")
    assert not found_in("\n".join(headers))
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("valetkey_console"))
    assert "GET /grants 200" in logged
    assert not found_in(logged)


async def test_wrong_secrets_are_not_repeated(planted: Console) -> None:
    """Whatever is typed into the log-in, the page that comes back does not have it."""
    for typed in ("PLANTED-" + "x" * 30, "PLANTED with spaces", "<x-planted>"):
        answer = await planted.browser().http.post(
            "/login",
            data={"api_key": typed, "next": "/"},
            headers={"origin": "https://console.test", "sec-fetch-site": "same-origin"},
        )
        assert answer.status_code in (400, 401)
        assert not found_in(answer.text, {"typed": typed})
        assert not Page(answer.text).faults


async def test_pages_of_nobody(console: Console) -> None:
    """The log-in page, too."""
    for path in ("/login", "/login?over=idle", "/login?over=<x-planted>", "/login?next=/<x-planted>", "/nowhere"):
        text = (await console.browser().http.get(path)).text
        assert Page(text).faults == []
        assert "x-planted" not in Page(text).elements


async def test_the_eye_can_see() -> None:
    """What looks at the pages finds what must not be in one."""
    for wrong in (
        "<script>x</script>",
        "<p style='color:red'>x</p>",
        "<a href='javascript:x'>x</a>",
        "<a href='//evil.test'>x</a>",
        "<img src='https://evil.test/x.png'>",
        "<p onclick='x'>x</p>",
        "<input type=password value=x>",
        "<p>\u202e</p>",
        "<div><p></div>",
    ):
        assert Page(wrong).faults, wrong
    assert Page("<p><a href='/grants?q=x'>x</a></p>").faults == []
