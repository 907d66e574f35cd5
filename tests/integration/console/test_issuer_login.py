"""Logging in to the console at the stand-in for Entra, and those who try to come in between."""

import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

import httpx2
import pytest
import pytest_asyncio

from support.console import Browser, Console, running_console
from support.inproc import CLIENT, SECRET, TENANT, running_broker
from valetkey.login.login_offer import LoginOffer
from valetkey_broker.model import Secret
from valetkey_console.openid.log_ins import LogIns
from valetkey_devstack.ca import make_ca
from valetkey_devstack.control_plane import ControlPlane
from valetkey_devstack.demo_people import people_settings

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]
# Behind a proxy, below a path: what the issuer has registered is the outer address.
OUTER = "https://ops.test/vk"


@dataclass
class World:
    """A console whose people log in at `plane`."""

    console: Console
    plane: ControlPlane
    trust: ssl.SSLContext

    async def leave(self, browser: Browser, back: str = "/") -> str:
        """Begins a log-in as a person would, and returns the issuer's page."""
        page = (await browser.get(f"/login?next={quote(back, safe='')}")).text
        found = re.search(r'href="/vk(/login/at[^"]*)"', page)
        assert found, page
        answer = await browser.get(found[1].replace("&amp;", "&"), code=303)
        return str(answer.headers["location"])

    async def choose(self, page: str, person: str = "ada") -> str:
        """Returns where the issuer sends the browser of a person who logs in; "" for nobody."""
        async with httpx2.AsyncClient(verify=self.trust, trust_env=False) as http:
            answer = await http.post(page, data={"person": person})
        assert answer.status_code == 302, answer.text
        location = str(answer.headers["location"])
        assert location.startswith(f"{OUTER}/login/callback")
        return location.removeprefix(OUTER)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    directory = tmp_path_factory.mktemp("issuer")
    plane = ControlPlane(TENANT, CLIENT, Secret(SECRET), TENANT)
    plane.log_ins.redirect_uris.add(f"{OUTER}/login/callback")
    (directory / "plane").mkdir()
    ca = directory / "plane" / "ca.pem"
    await plane.start("127.0.0.1", 0, *make_ca(directory / "plane").issue("plane", directory / "plane"))
    try:
        authn = people_settings(plane.log_ins, str(ca))
        async with running_broker(directory, authn=authn) as broker:
            await broker.ready()
            async with running_console(directory, broker, outer_url=OUTER, issuer_ca_file=ca) as console:
                yield World(console, plane, ssl.create_default_context(cafile=str(ca)))
    finally:
        await plane.stop()


async def test_log_in_and_back(world: World) -> None:
    """As the person that the issuer names, with their role, to where they were, and for no longer than the token."""
    browser = world.console.browser()
    asked = await browser.get("/grants?q=x", code=303)
    assert asked.headers["location"] == "/vk/login?next=%2Fgrants%3Fq%3Dx"
    page = await world.leave(browser, "/grants?q=x")
    query = {name: values[0] for name, values in parse_qs(urlsplit(page).query).items()}
    assert query["redirect_uri"] == f"{OUTER}/login/callback"
    assert query["code_challenge_method"] == "S256"
    assert "offline_access" not in query["scope"]  # nothing is renewed, so nothing that renews is asked for
    answer = await browser.get(await world.choose(page), code=303, sec_fetch_site="cross-site", **NAVIGATION)
    assert answer.headers["location"] == "/vk/grants?q=x"
    overview = (await browser.get("/")).text
    assert "ada@example.org" in overview
    assert "oidc" in overview
    assert list(browser.http.cookies) == ["__Host-valetkey-session"]


NAVIGATION = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}


async def test_an_answer_counts_once_and_in_its_own_browser(world: World) -> None:
    """Neither again, nor in a browser that did not begin it: nobody can log others in as themselves."""
    browser, victim = world.console.browser(), world.console.browser()
    back = await world.choose(await world.leave(browser))
    assert "not the answer to a log-in" in (await victim.get(back, code=400)).text
    await victim.get("/", code=303)
    await browser.get(back, code=303)
    assert "not the answer to a log-in" in (await browser.get(back, code=400)).text


Change = Callable[[dict[str, str]], str]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda q: urlencode({**q, "state": "x" * 43}), 400, "not the answer to a log-in"),
        (lambda q: urlencode({"code": q["code"]}), 400, "not the answer to a log-in"),
        (lambda q: urlencode(q) + "&code=other", 400, "not the answer to a log-in"),
        (lambda q: urlencode({**q, "code": "made-up-code"}), 401, "the issuer refused the log-in"),
        (lambda q: urlencode({"state": q["state"]}), 502, "without a code"),
        (lambda q: urlencode({**q, "iss": "https://evil.test"}), 502, "came back from https://evil.test"),
        (lambda q: urlencode({"state": q["state"], "error": "<script>"}), 401, "&lt;script&gt;"),
    ],
)
async def test_answers_that_were_changed(world: World, change: Change, code: int, said: str) -> None:
    """Nobody is logged in; the page says what was wrong, as text, and repeats no code."""
    browser = world.console.browser()
    path, _, query = (await world.choose(await world.leave(browser))).partition("?")
    given = dict(parse_qsl(query))
    page = (await browser.get(f"{path}?{change(given)}", code=code)).text
    assert said in page
    assert given["code"] not in page
    assert "made-up-code" not in page
    await browser.get("/", code=303)


async def test_another_log_ins_code_is_not_taken(world: World) -> None:
    """A code is bound to the browser that began it, by its verifier: one that was slipped in is refused."""
    attacker, victim = world.console.browser(), world.console.browser()
    theirs = dict(parse_qsl((await world.choose(await world.leave(attacker), "vera")).partition("?")[2]))
    own = dict(parse_qsl((await world.choose(await world.leave(victim))).partition("?")[2]))
    injected = urlencode({**own, "code": theirs["code"]})
    assert "Code_Verifier" in (await victim.get(f"/login/callback?{injected}", code=401)).text


async def test_one_of_several_issuers_has_an_address_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes back at another's address is not taken for that of the issuer that was chosen."""
    offers = LogIns.offers

    async def two(log_ins: LogIns) -> tuple[LoginOffer, ...]:
        (own,) = await offers(log_ins)
        return own, replace(own, issuer="https://other.example")

    monkeypatch.setattr(LogIns, "offers", two)
    browser, victim = world.console.browser(), world.console.browser()
    page = await world.leave(browser)
    redirect_uri = parse_qs(urlsplit(page).query)["redirect_uri"][0]
    assert re.fullmatch(f"{OUTER}/login/callback/[0-9a-f]{{32}}", redirect_uri)
    monkeypatch.setattr(world.plane.log_ins, "redirect_uris", {redirect_uri})
    back = await world.choose(page)
    assert (await browser.get(back, code=303)).headers["location"] == "/vk/"
    for path in ("/login/callback", "/login/callback/00000000000000000000000000000000"):
        query = (await world.choose(await world.leave(victim))).partition("?")[2]
        assert "from another issuer" in (await victim.get(f"{path}?{query}", code=400)).text
    await victim.get("/", code=303)


async def test_nobody_logged_in(world: World) -> None:
    """Whoever changes their mind is told so, and can try again."""
    browser = world.console.browser()
    page = (await browser.get(await world.choose(await world.leave(browser), ""), code=401)).text
    assert "declined" in page
    assert "/vk/login/at" in page


async def test_an_issuer_that_the_broker_does_not_name(world: World) -> None:
    """Nobody is sent there."""
    page = (await world.console.browser().get("/login/at?issuer=https%3A%2F%2Fevil.test&next=/", code=404)).text
    assert "names no such issuer" in page


async def test_log_ins_in_two_tabs(world: World) -> None:
    """Both come to an end; and cookies of log-ins that were begun and left do not pile up."""
    browser = world.console.browser()
    first, second = await world.leave(browser, "/grants"), await world.leave(browser, "/")
    assert (await browser.get(await world.choose(first), code=303)).headers["location"] == "/vk/grants"
    assert (await browser.get(await world.choose(second, "vera"), code=303)).headers["location"] == "/vk/"
    for _ in range(12):
        await world.leave(browser)
    assert len(browser.http.cookies) <= 6


async def test_the_session_ends_with_the_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it was used all the time; the page says so, and leads back."""
    browser, begun = world.console.browser(), time.time()
    monkeypatch.setattr(world.plane.log_ins, "token_seconds", 600)
    await browser.get(await world.choose(await world.leave(browser)), code=303)
    now = begun + 540
    monkeypatch.setattr("valetkey_console.sessions.session.now", lambda: now)
    await browser.get("/grants")
    now = begun + 660
    answer = await browser.get("/grants?q=x", code=303)
    assert answer.headers["location"] == "/vk/login?next=%2Fgrants%3Fq%3Dx&over=token"
    assert "your access token or API key has expired" in (await browser.follow(answer)).text
