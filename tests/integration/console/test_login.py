"""Logging in and out, and what a session is worth."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from support.console import Console
from support.inproc import ADMIN_KEY, CONSUMER_KEY, VIEWER_KEY, make_key
from valetkey import AsyncClient, api_key_sha256
from valetkey_console.sessions.session import IDLE

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]


async def test_a_log_in_leads_back(console: Console) -> None:
    """To the page that was asked for, with its query; and the page says who one is."""
    browser = console.browser()
    asked = await browser.get("/grants?q=training", code=303)
    assert asked.headers["location"] == "/login?next=%2Fgrants%3Fq%3Dtraining"
    form = (await browser.follow(asked)).text
    assert 'name="next" value="/grants?q=training"' in form
    answer = await browser.log_in(ADMIN_KEY, "/grants?q=training")
    assert answer.headers["location"] == "/grants?q=training"
    assert "key:admin" in (await browser.get("/grants")).text


async def test_the_cookie(console: Console) -> None:
    """Bound to the host, out of reach of scripts and of other sites, and sealed: the key is not in it."""
    answer = await console.browser().log_in(ADMIN_KEY)
    (cookie,) = answer.headers.get_list("set-cookie")
    name, _, rest = cookie.partition("=")
    assert name == "__Host-valetkey-session"
    value, *attributes = rest.split("; ")
    assert {each.lower() for each in attributes} == {"path=/", "secure", "httponly", "samesite=lax"}
    assert ADMIN_KEY not in value


@pytest.mark.parametrize("key", ["vk_" + "x" * 43, "", "with space", "vk_ä", "v" * 500, "a\r\nb"])
async def test_what_is_no_key(console: Console, key: str) -> None:
    """Says so, and does not show it again."""
    browser = console.browser()
    answer = await browser.post("/login", {"api_key": key, "next": "/grants"}, code=401 if key.endswith("x") else 400)
    assert "set-cookie" not in answer.headers
    assert 'name="next" value="/grants"' in answer.text
    assert not key or key not in answer.text
    assert ('href="#field-api_key"' in answer.text) is (not key.endswith("x"))


async def test_logging_out_ends_copies_too(console: Console) -> None:
    """Whoever kept the cookies has nothing from it."""
    browser = console.browser()
    await browser.log_in(VIEWER_KEY)
    copy = dict(browser.http.cookies)
    answer = await browser.post("/logout")
    assert answer.headers["location"] == "/login?over=out"
    assert "You are logged out." in (await browser.follow(answer)).text
    await browser.get("/", code=303)
    thief = console.browser()
    thief.http.cookies.update(copy)
    await thief.get("/", code=303)


async def test_a_new_log_in_is_a_new_session(console: Console) -> None:
    """Whatever cookie was there before counts no longer: nobody can be given a session to use."""
    browser = console.browser()
    await browser.log_in(CONSUMER_KEY)
    before = dict(browser.http.cookies)
    await browser.log_in(ADMIN_KEY)
    assert dict(browser.http.cookies) != before
    old = console.browser()
    old.http.cookies.update(before)
    await old.get("/", code=303)


async def test_a_revoked_key_ends_the_session(console: Console) -> None:
    """The broker's word counts at once; the log-in page says so, and leads back."""
    key = make_key("P")
    async with AsyncClient(console.settings.endpoint, api_key=ADMIN_KEY, ca_file=console.settings.ca_file) as admin:
        await admin.create_api_key(
            "passing",
            roles=["admin"],
            key_sha256=api_key_sha256(key),
            expire_time=datetime.now(UTC) + timedelta(hours=1),
        )
        browser, amid_a_form = console.browser(), console.browser()
        await browser.log_in(key)
        await browser.get("/grants")
        await amid_a_form.log_in(key)
        await admin.revoke_api_key("passing")
    part = await amid_a_form.post("/connectors/azure-blob-demo/verify", code=401, hx_request="true")
    assert '<a class="button" href="/login" target="_blank"' in part.text
    assert not amid_a_form.http.cookies
    answer = await browser.get("/grants?q=x", code=303)
    assert answer.headers["location"] == "/login?next=%2Fgrants%3Fq%3Dx&over=refused"
    assert "the broker no longer accepts your key or token" in (await browser.follow(answer)).text
    assert not browser.http.cookies


async def test_a_session_that_ended_says_why(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it was a page, a part of one or a form, it leads to the log-in, and from there back to the page."""
    browser = console.browser()
    await browser.log_in(ADMIN_KEY)
    later = time.time() + IDLE + 1
    monkeypatch.setattr("valetkey_console.sessions.session.now", lambda: later)
    monkeypatch.setattr(browser.http.cookies, "extract_cookies", lambda _response: None)  # all three have the old ones
    page = f"{console.settings.outer_url}/grants?q=x"
    to = "/login?next=%2Fgrants%3Fq%3Dx&over=idle"
    assert (await browser.get("/grants?q=x", code=303)).headers["location"] == to
    part = await browser.get("/grants", code=401, hx_request="true", hx_current_url=page)
    assert part.headers["hx-redirect"] == to
    # A form of a page that stays keeps what was typed, so nobody is taken from there.
    part = await browser.post("/connectors/azure-blob-demo/verify", code=401, hx_request="true", hx_current_url=page)
    assert "hx-redirect" not in part.headers
    assert part.headers["hx-retarget"] == "#failure"
    assert "your entries are still in the form" in part.text
    assert '<a class="button" href="/login" target="_blank"' in part.text
    assert (await browser.get(to)).text.count("30 minutes without activity") == 1


async def test_who_is_logged_in_may_go_on(console: Console) -> None:
    """The way back leads to the page of the log-in, too: it says that one is logged in, and leads on."""
    link = '<a href="/grants?q=x">Continue</a>'
    page = (await console.as_viewer.get("/login?next=%2Fgrants%3Fq%3Dx")).text
    assert ("You are logged in as key:eyes." in page, link in page) == (True, True)
    assert "You are logged in" not in (await console.browser().get("/login?next=%2Fgrants%3Fq%3Dx")).text
