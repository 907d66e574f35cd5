"""Those who want more of the console than it gives: forms of other sites, frames, other people's pages, odd requests.

Routes are taken from the console's own table, so that a new form is tried, too.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.responses import Response

from support.console import Browser, Console, console_settings
from support.inproc import ADMIN_KEY, VIEWER_KEY
from valetkey_console.app import console_app
from valetkey_console.broker import clients
from valetkey_console.openid import log_ins
from valetkey_console.pages import SECTIONS
from valetkey_console.safety.bodies import MOST
from valetkey_console.sessions.cookie_sessions import Sessions
from valetkey_console.sessions.sealing import Seal
from valetkey_console.sessions.session import Session
from valetkey_console.visits.roles import EVERYBODY, Roles, may
from valetkey_console.visits.visit import Visit

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]

Found = tuple[str, Roles]


def routes(method: str, *, session: bool = True) -> Iterator[Found]:
    """Gives the addresses of the console with names filled in, and who may use them."""
    for section in SECTIONS:
        for route in section.routes:
            if route.method == method and route.session is session:
                path = re.sub(r"\{[^}]+\}", "some-name", route.path)
                yield path, section.roles if route.roles is None else route.roles


def folder(console: Console) -> Path:
    """Returns where the broker's CA is."""
    assert console.settings.ca_file is not None
    return console.settings.ca_file.parent


FORMS = [path for each in (True, False) for path, _ in routes("POST", session=each)]
PAGES = [path for path, _ in routes("GET")]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test", "sec_fetch_site": "cross-site"},
        {"origin": "https://evil.test"},
        {"origin": "https://other.console.test", "sec_fetch_site": "same-site"},
        {"origin": "https://console.test.evil.test"},
        {"origin": "http://console.test"},
        {"origin": "https://console.test:8443"},
        {"origin": "null"},
        {"origin": ""},
        {"sec_fetch_site": ""},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
async def test_forms_of_other_sites(console: Console, headers: dict[str, str]) -> None:
    """Whatever a form does, it does nothing when it comes from elsewhere, or does not say from where."""
    for path in FORMS:
        answer = await console.as_admin.post(path, {"api_key": VIEWER_KEY}, code=403, **headers)
        assert "did not come from a page of the console" in answer.text
        assert "set-cookie" not in answer.headers
    assert "key:admin" in (await console.as_admin.get("/")).text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
async def test_other_methods(console: Console, method: str) -> None:
    """Not from elsewhere, and from here there is nothing that takes them."""
    http = console.as_admin.http
    assert (await http.request(method, "/logout")).status_code == 403
    ours = {"origin": "https://console.test", "sec-fetch-site": "same-origin"}
    assert (await http.request(method, "/logout", headers=ours)).status_code == 405


async def test_no_form_is_a_link(console: Console) -> None:
    """What changes something is not done by an address: there, it is no page at all, or one that shows something."""
    for path in FORMS:
        answer = await console.as_admin.http.get(path)
        assert answer.status_code in (405, 200, 404)
    assert "key:admin" in (await console.as_admin.get("/")).text


@pytest.mark.parametrize(
    ("mode", "dest"),
    [
        ("navigate", "iframe"),
        ("navigate", "frame"),
        ("navigate", "embed"),
        ("navigate", "object"),
        ("no-cors", "image"),
        ("no-cors", "script"),
        ("cors", "empty"),
    ],
)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_pages_in_other_sites(console: Console, mode: str, dest: str, site: str) -> None:
    """No frame, no picture, no script of another site gets one, even if a browser sent its cookies along."""
    headers = {"sec_fetch_site": site, "sec_fetch_mode": mode, "sec_fetch_dest": dest}
    for path in ("/", "/grants?as=csv", "/static/console.js", "/login"):
        await console.as_admin.get(path, code=403, **headers)


async def test_links_from_other_sites(console: Console) -> None:
    """Somebody's chat holds an address of ours: that opens."""
    headers = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    await console.as_admin.get("/grants", **headers)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/", 200),
        ("/login", 200),
        ("/grants?as=csv", 200),
        ("/nowhere", 404),
        ("/grants/nowhere", 404),
        ("/logout", 405),
    ],
)
async def test_headers_of_every_answer(console: Console, path: str, code: int) -> None:
    """No frame, no script or style but our files, nothing kept, nothing guessed, nothing told to others."""
    headers = (await console.as_admin.get(path, code=code)).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    assert "base-uri 'none'" in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert "server" not in headers


async def test_only_files_without_data_are_kept(console: Console) -> None:
    """The style sheet is; its address changes with its content."""
    page = (await console.browser().get("/login")).text
    (path,) = re.findall(r'href="(/static/console\.css\?v=\w+)"', page)
    assert "immutable" in (await console.browser().get(path)).headers["cache-control"]


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.test/",
        "//evil.test/",
        "///evil.test/",
        "/\\evil.test/",
        "\\\\evil.test/",
        "/\t/evil.test/",
        "/\n/evil.test/",
        " //evil.test/",
        "javascript:alert(1)",
        "evil.test",
        "",
        "/x\r\nset-cookie: a=b",
        "/" + "a" * 3_000,
        "/ä",
        "/..//evil.test/",
        "/grants/../..",
        "/./grants",
        "/%2E./grants",
        "/grants/.%2e?q=x",
        "/grants//evil.test",
    ],
)
async def test_nobody_is_sent_elsewhere(console: Console, back: str) -> None:
    """After a log-in one is at a page of ours, whatever the address of the log-in said."""
    browser = console.browser()
    page = (await browser.http.get("/login", params={"next": back})).text
    assert 'name="next" value="/"' in page
    answer = await browser.log_in(VIEWER_KEY, back)
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("path", PAGES)
async def test_pages_without_a_log_in(console: Console, path: str) -> None:
    """There is nothing to see but the log-in."""
    answer = await console.browser().get(path, code=303)
    assert answer.headers["location"].startswith("/login?next=")
    assert "some-name" not in answer.text


async def test_forms_without_a_log_in(console: Console) -> None:
    """Nothing is done; a form that came too late leads back to its page, and not to where it was sent."""
    for path, _ in routes("POST"):
        answer = await console.browser().post(path, referer="https://console.test/grants?q=x")
        assert answer.headers["location"] == "/login?next=%2Fgrants%3Fq%3Dx&lost=form"
        answer = await console.browser().post(path, referer="https://evil.test/grants")
        assert answer.headers["location"] == "/login?next=%2F&lost=form"
        assert "What you had just sent was not done" in (await console.browser().follow(answer)).text


PEOPLE: dict[str, tuple[Callable[[Console], Browser], tuple[str, ...]]] = {
    "operator": (lambda console: console.as_operator, ("operator",)),
    "viewer": (lambda console: console.as_viewer, ("viewer",)),
    "auditor": (lambda console: console.as_auditor, ("auditor",)),
    "consumer": (lambda console: console.as_consumer, ()),
}


@pytest.mark.parametrize("person", PEOPLE)
async def test_forms_of_others_by_hand(console: Console, person: str) -> None:
    """Who makes up a form that they were not offered is refused; so are pages."""
    browser_of, roles = PEOPLE[person]
    browser = browser_of(console)
    for path, allowed in routes("POST"):
        if allowed != EVERYBODY and not may(roles, allowed):
            page = (await browser.post(path, {"name": "made-up"}, code=403)).text
            assert "You may not see this" in page
    for path, allowed in routes("GET"):
        if allowed != EVERYBODY and not may(roles, allowed):
            await browser.get(path, code=403)


async def test_a_role_that_a_cookie_made_up(console: Console, tmp_path: Path) -> None:
    """Whoever had the session key and made themselves an admin still has no more than their key: the broker decides."""
    key = tmp_path / "key"
    key.write_text("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n")
    app = console_app(console_settings(console.broker, folder(console), session_key_file=key))
    made_up = Session.begin(VIEWER_KEY, "key:admin", ("admin",), "api-key", None)
    answer = Response()
    Sessions(Seal.from_file(key)).keep(answer, {}, replace(made_up, name="Admin"))
    name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
    browser = Browser(app)
    browser.http.cookies.set(name, value)
    assert "ROLE_REQUIRED" in (await browser.get("/grants", code=403)).text


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1],
        lambda value: value[1:],
        lambda value: value + "A",
        lambda value: value[:40] + ("A" if value[40] != "A" else "B") + value[41:],
        lambda value: value.replace("1~", "2~"),
        lambda value: value.replace("1~", "1~~"),
        lambda value: "1~" + ".".join(reversed(value[2:].split("."))),
        lambda _: "1~eyJhbGciOiJub25lIn0.e30.",
        lambda _: "1~",
        lambda _: "~",
    ],
)
async def test_cookies_that_were_changed(console: Console, change: Callable[[str], str]) -> None:
    """Are none."""
    browser = console.browser()
    await browser.log_in(ADMIN_KEY)
    name = "__Host-valetkey-session"
    value = browser.http.cookies[name]
    browser.http.cookies.clear()
    browser.http.cookies.set(name, change(value))
    await browser.get("/", code=303)


async def test_a_console_takes_no_cookies_of_another(console: Console) -> None:
    """Each has its own key, unless it was given one."""
    other = Browser(console_app(console_settings(console.broker, folder(console))))
    other.http.cookies.update(dict(console.as_admin.http.cookies))
    await other.get("/", code=303)


@pytest.mark.parametrize(
    "host", ["evil.test:8480", "127.0.0.1:1", "localhost", "evil.test", "127.0.0.1:8480.evil.test"]
)
async def test_other_names_of_a_loopback_address(console: Console, host: str) -> None:
    """A site whose name leads here would be of one origin with the console: such names are not the console's."""
    settings = console_settings(console.broker, folder(console), outer_url="", port=8480)
    browser = Browser(console_app(settings), "http://127.0.0.1:8480")
    await browser.get("/login", code=403, host=host)
    page = await browser.get("/login", host="localhost:8480")
    assert "strict-transport-security" not in page.headers  # it is served in the clear


@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        (b"a=" + b"x" * MOST, "application/x-www-form-urlencoded", 413),
        (b"&".join(b"a=1" for _ in range(1_000)), "application/x-www-form-urlencoded", 400),
        (b"no form", "multipart/form-data; boundary=x", 400),
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data; boundary=x; charset=latin-1", 415),
        (b"", 'multipart/form-data; boundary=x; CHARSET="utf-16"', 415),
        (b"", "multipart/form-data; boundary=x; charset=utf-8; charset=latin-1", 415),
        (b"", "application/x-www-form-urlencoded; charset=latin-1", 415),
        (b"", "multipart/form-data; boundary=x; charset=utf-8", 400),
        (b"", "application/x-www-form-urlencoded;charset=UTF-8", 400),
        (b"api_key=%ff%00%1b[31m&next=%00", "application/x-www-form-urlencoded", 400),
    ],
)
async def test_odd_forms(console: Console, content: bytes, content_type: str, code: int) -> None:
    """Are refused with a reason, and never with a fault of ours."""
    headers = {"origin": "https://console.test", "sec-fetch-site": "same-origin", "content-type": content_type}
    answer = await console.browser().http.post("/login", content=content, headers=headers)
    assert answer.status_code == code, answer.text
    assert "\x1b" not in answer.text


async def test_two_kinds_of_form_at_once(console: Console) -> None:
    """None is guessed to be the one that counts."""
    headers = [("origin", "https://console.test"), ("sec-fetch-site", "same-origin")]
    kinds = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    headers += [("content-type", kind) for kind in kinds]
    assert (await console.browser().http.post("/login", content=b"", headers=headers)).status_code == 415


async def test_no_form_is_read_where_no_key_is_taken(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not logged in gives the console nothing to work at."""
    browser = Browser(console_app(console_settings(console.broker, folder(console), api_key_login=False)))

    async def form(_visit: Visit) -> None:
        raise AssertionError("the form was read")

    monkeypatch.setattr(Visit, "form", form)
    assert "takes no API keys" in (await browser.post("/login", {"api_key": ADMIN_KEY}, code=403)).text


@pytest.mark.parametrize("page", ["http://[", "https://console.test]/", "//[x]/"])
async def test_odd_addresses_of_the_page_before(console: Console, page: str) -> None:
    """Lead to the overview after the log-in."""
    part = await console.browser().get("/grants", code=401, hx_request="true", hx_current_url=page)
    assert part.headers["hx-redirect"] == "/login?next=%2F"
    form = await console.browser().post("/new-grant", referer=page)
    assert form.headers["location"] == "/login?next=%2F&lost=form"


async def test_bodies_that_do_not_say_their_size(console: Console) -> None:
    """Count as they come."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield b"x" * 1_000

    headers = {
        "origin": "https://console.test",
        "sec-fetch-site": "same-origin",
        "content-type": "application/x-www-form-urlencoded",
    }
    answer = await console.browser().http.post("/login", content=endless(), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "....//app.py", "%00", "/etc/passwd"])
async def test_files_elsewhere(console: Console, path: str) -> None:
    """Only those of static/ are served."""
    assert (await console.browser().http.get(f"/static/{path}")).status_code == 404


@pytest.mark.parametrize("name", ["n" * 1_200, "<x-planted>", "a\u202eb", "\x1b[31m", "%00", "{{1234*4321}}", "\u2028"])
async def test_odd_names_in_addresses(console: Console, name: str) -> None:
    """Come to a page that shows them as text, if at all."""
    odd = quote(name, safe="")
    paths = [f"/grants/{odd}", f"/connectors/{odd}", f"/register/azure/{odd}", f"/register/{odd}/implicit"]
    for path in [
        *paths,
        *(f"/connectors/{odd}/{page}" for page in ("verify", "rotation", "rotate", "update", "delete")),
    ]:
        answer = await console.as_admin.http.get(path)
        assert answer.status_code in (400, 404)
        _only_text(answer.text)


@pytest.mark.parametrize("typed", ["<x-planted>", '"><x-planted a="', "a\u202eb\x1b[31m", "{{1234*4321}}", "n" * 1_200])
async def test_odd_values_in_forms(console: Console, typed: str) -> None:
    """What was typed comes back as text, whichever field it was typed into; secrets do not come back."""
    page = "/connectors/azure-blob-demo"
    fields = ("name", "description", "labels", "expire_time", "resource_id", "resource_type", "serves", "confirm", "by")
    fields += ("every", "prove_for", "auth_method", "seen", "given.tenant_id", "given.client_id", "given.cloud")
    form = {**dict.fromkeys(fields, typed), "given.client_secret": f"PLANTED~{typed}"}
    forms = [f"{page}/{each}" for each in ("verify", "rotate", "rotate-by-itself", "schedule", "update", "delete")]
    for path in ["/register/azure/service-principal", "/register/azure/authentication_secret", *forms]:
        headers = {"origin": "https://console.test", "sec-fetch-site": "same-origin"}
        answer = await console.as_admin.http.post(path, data=form | {"do": "check"}, headers=headers)
        assert 400 <= answer.status_code < 500
        _only_text(answer.text)
        assert "PLANTED" not in answer.text


async def test_names_that_would_be_options(console: Console) -> None:
    """Whoever sends a link with one has nobody copy a command that does more."""
    page = (await console.as_admin.get("/api-keys/new?name=--role=admin")).text
    assert "valetkey api-key create --ttl 90d -- --role=admin<" in page


def _only_text(page: str) -> None:
    assert "<x-planted" not in page
    assert "5332114" not in page
    for hidden in ("\u202e", "\x1b", "\u2028", "\x00"):
        assert hidden not in page


async def test_a_broker_that_is_away(console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says so, with what to do, and no word of the inside."""
    monkeypatch.setattr(clients, "TIMEOUT", 0.5)
    monkeypatch.setattr(log_ins, "_TIMEOUT", 0.5)
    settings = console_settings(console.broker, folder(console), endpoint="127.0.0.1:1")
    page = (await Browser(console_app(settings)).post("/login", {"api_key": ADMIN_KEY}, code=503)).text
    assert "cannot be reached" in page
    assert "Traceback" not in page
