"""The two ways to log in, and those who try to come in between."""

import base64
import hashlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from support.fake_issuer import CLIENT_ID, FakeIssuer, get
from valetkey import SettingsError, UnauthenticatedError, ValetKeyError
from valetkey.login import flows
from valetkey.login.flows import by_browser, by_device
from valetkey.login.issuer import discover
from valetkey.login.issuer_http import IssuerHttp
from valetkey.login.issuer_tokens import Tokens

Query = dict[str, str]


class Browser:
    """A person's browser: comes back with what `bring` makes of the query, and keeps what it was shown."""

    def __init__(self, bring: Callable[[Query], list[Query]]) -> None:
        self._bring = bring
        self.query: Query = {}
        self.seen: list[tuple[int, str, Any]] = []
        self._thread: threading.Thread | None = None

    def open_browser(self, url: str) -> None:
        self.query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        self._thread = threading.Thread(target=self._come_back)
        self._thread.start()

    def _come_back(self) -> None:
        for answer in self._bring(self.query):
            self.seen.append(get(f"{self.query['redirect_uri']}?{urlencode(answer)}"))

    def show_code(self, url: str, code: str, seconds: float) -> None:
        raise AssertionError

    def finished(self) -> list[tuple[int, str, Any]]:
        assert self._thread is not None
        self._thread.join()
        return self.seen


def well(query: Query) -> list[Query]:
    return [{"code": "the-code", "state": query["state"]}]


def log_in(issuer: FakeIssuer, browser: Browser, *, port: int = 0, alone: bool = True) -> Tokens:
    http = IssuerHttp(issuer.ca_file)
    return by_browser(http, discover(http, issuer.url), issuer.offer, browser, alone=alone, port=port)


def test_in_a_browser(issuer: FakeIssuer) -> None:
    """The code comes back to 127.0.0.1, and is redeemed with the verifier of the challenge; the page has no token."""

    def with_nonce(query: Query) -> list[Query]:
        issuer.more["id_token"] = issuer.jwt(aud=CLIENT_ID, nonce=query["nonce"])
        return well(query)

    browser = Browser(with_nonce)
    tokens = log_in(issuer, browser)
    (form,) = issuer.asked("/token")
    assert browser.query["redirect_uri"].startswith("http://127.0.0.1:")
    assert browser.query["code_challenge_method"] == "S256"
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert browser.query["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert len(form["code_verifier"]) >= 43
    assert (form["code"], form["client_id"]) == ("the-code", CLIENT_ID)
    assert form["redirect_uri"] == browser.query["redirect_uri"]
    ((status, page, headers),) = browser.finished()
    assert status == 200
    assert "You may close this page" in page
    for secret in (tokens.access, tokens.refresh, "the-code", browser.query["state"]):
        assert secret not in page
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"].strip() == "valetkey"
    assert tokens.access not in repr(tokens)


def test_answers_to_another_log_in_are_turned_away(issuer: FakeIssuer) -> None:
    """A code with a wrong state or none is not redeemed; the right one still is."""
    browser = Browser(lambda query: [{"code": "injected", "state": "guessed"}, {"code": "injected"}, *well(query)])
    log_in(issuer, browser)
    assert [form["code"] for form in issuer.asked("/token")] == ["the-code"]
    assert [status for status, _, _ in browser.seen[:3]] == [400, 400, 200]


def test_one_of_several_issuers_has_a_path_of_its_own(issuer: FakeIssuer) -> None:
    """Protects an honest issuer's code from one that is offered beside it, and sends the browser on to it.

    The honest one sends back to what is registered for it, its own path or the plain one; neither is this one's.
    """
    statuses: list[int] = []

    def sent_on(query: Query) -> list[Query]:
        place = urlsplit(query["redirect_uri"])
        honest = hashlib.sha256(b"https://honest.example").hexdigest()[:32]
        answer = f"code=honest&state={query['state']}"
        statuses.extend(get(f"http://{place.netloc}/callback{part}?{answer}")[0] for part in ("", f"/{honest}"))
        return well(query)

    browser = Browser(sent_on)
    log_in(issuer, browser, alone=False)
    browser.finished()
    digest = hashlib.sha256(issuer.url.encode()).hexdigest()[:32]
    assert urlsplit(browser.query["redirect_uri"]).path == f"/callback/{digest}"
    assert statuses == [404, 404]
    (form,) = issuer.asked("/token")
    assert (form["code"], form["redirect_uri"]) == ("the-code", browser.query["redirect_uri"])


def test_one_that_names_itself_has_the_plain_path(issuer: FakeIssuer) -> None:
    """Its answers say whose they are (RFC 9207), so nothing more has to be registered for it."""
    issuer.document["authorization_response_iss_parameter_supported"] = True
    browser = Browser(lambda query: [{**each, "iss": issuer.url} for each in well(query)])
    log_in(issuer, browser, alone=False)
    browser.finished()
    assert urlsplit(browser.query["redirect_uri"]).path == "/callback"


def test_other_visitors_are_turned_away(issuer: FakeIssuer) -> None:
    """Another path, another method and a connection that says nothing keep nobody from logging in."""
    statuses = []

    def visit(query: Query) -> list[Query]:
        place = urlsplit(query["redirect_uri"])
        with socket.create_connection((place.hostname or "", place.port or 0)):
            statuses.append(get(f"http://{place.netloc}/favicon.ico")[0])
            statuses.append(get(f"{query['redirect_uri']}?state={query['state']}&state=x&code=injected")[0])
            statuses.append(get(f"{query['redirect_uri']}?{'&'.join(f'a{number}=1' for number in range(100))}")[0])
            with pytest.raises(urllib.error.HTTPError, match="501") as refused:
                urllib.request.urlopen(query["redirect_uri"], data=b"code=injected", timeout=30)  # noqa: S310
            refused.value.close()
        return well(query)

    browser = Browser(visit)
    log_in(issuer, browser)
    browser.finished()
    assert statuses == [404, 400, 400]
    assert [form["code"] for form in issuer.asked("/token")] == ["the-code"]


@pytest.mark.parametrize(
    ("answer", "says_its_name", "problem"),
    [
        ({"code": "c", "iss": "https://evil.example"}, False, "came back from https://evil.example"),
        ({"code": "c"}, True, "from an issuer that does not say its name"),
        ({"error": "access_denied", "error_description": "AADSTS65004: no"}, False, "access_denied: AADSTS65004: no"),
        ({}, False, "came back without a code"),
    ],
)
def test_answers_that_are_none(issuer: FakeIssuer, answer: Query, says_its_name: bool, problem: str) -> None:
    """A mix-up of issuers (RFC 9207) is found before anything is sent; a refusal is told in the issuer's words."""
    issuer.document["authorization_response_iss_parameter_supported"] = says_its_name
    browser = Browser(lambda query: [{**answer, "state": query["state"]}])
    with pytest.raises(ValetKeyError, match=problem):
        log_in(issuer, browser)
    browser.finished()
    assert issuer.forms == []


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"id_token": {"aud": CLIENT_ID, "nonce": "another"}}, "its nonce is not the one that was sent"),
        ({"id_token": {"aud": "another"}}, "the issuer's ID token is another client's"),
        ({"id_token": {"aud": CLIENT_ID, "iss": "https://evil.example"}}, "the issuer's ID token is another client's"),
        ({"access_token": "opaque"}, "is no JWT, which the broker cannot check"),
        ({"access_token": "a b"}, "no access token that can be sent"),
        ({"access_token": "x" * 9000}, "no access token that can be sent"),
        ({"access_token": None}, "no access token that can be sent"),
        ({"token_type": "DPoP"}, "is no bearer token"),
        ({"expires_in": -5}, "does not say how long"),
        ({"expires_in": 1e300}, "does not say how long"),
    ],
)
def test_tokens_that_are_not_this_log_ins(issuer: FakeIssuer, more: dict[str, Any], problem: str) -> None:
    """What the broker would refuse, and what belongs to another log-in, is told at once and kept nowhere."""
    id_token = more.get("id_token")
    issuer.more = more if id_token is None else {"id_token": issuer.jwt(**id_token)}
    browser = Browser(well)
    with pytest.raises(ValetKeyError, match=problem):
        log_in(issuer, browser)
    browser.finished()


def test_a_refused_code(issuer: FakeIssuer) -> None:
    """The issuer's words come without the code that they repeat."""
    issuer.answers = [(400, {"error": "invalid_grant", "error_description": "the-code has\nexpired"})]
    browser = Browser(well)
    with pytest.raises(UnauthenticatedError, match=r"refused the log-in: invalid_grant: \*\*\* has expired"):
        log_in(issuer, browser)
    browser.finished()


def test_nobody_comes(issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends by itself, and says how to log in without a browser."""
    monkeypatch.setattr(flows, "_BROWSER_SECONDS", 0.1)
    with pytest.raises(UnauthenticatedError, match=r"nobody logged in within 0.1 s.* valetkey login --device"):
        log_in(issuer, Browser(lambda _query: []))


def test_a_port_that_is_taken(issuer: FakeIssuer) -> None:
    """A port that the issuer knows and somebody else has is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"--port: {port} on 127.0.0.1 cannot be used"):
            log_in(issuer, Browser(well), port=port)


def test_an_issuer_without_pkce(issuer: FakeIssuer) -> None:
    """An issuer that says it knows no S256 is not used."""
    issuer.document["code_challenge_methods_supported"] = ["plain"]
    with pytest.raises(ValetKeyError, match="does not support PKCE"):
        log_in(issuer, Browser(well))


class Device:
    """A device without a browser; `told` is what its person reads."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, float]] = []

    def open_browser(self, url: str) -> None:
        raise AssertionError

    def show_code(self, url: str, code: str, seconds: float) -> None:
        self.told.append((url, code, seconds))


DEVICE = {
    "device_code": "device-1",
    "user_code": "ABC-DEF",
    "verification_uri": "https://issuer.example/device",
    "expires_in": 600,
    "interval": 7,
}
PENDING = (400, {"error": "authorization_pending"})


def log_in_by_device(issuer: FakeIssuer, sleep: Callable[[float], None]) -> tuple[Tokens, Device]:
    http, device = IssuerHttp(issuer.ca_file), Device()
    return by_device(http, discover(http, issuer.url), issuer.offer, device, sleep=sleep), device


def test_on_another_device(issuer: FakeIssuer) -> None:
    """Asks as often as the issuer wants, more seldom once it says so and where it is away, and takes the tokens."""
    slower = (400, {"error": "slow_down"})
    issuer.answers = [(200, DEVICE), PENDING, slower, PENDING, (503, {}), PENDING]
    pauses: list[float] = []
    tokens, device = log_in_by_device(issuer, pauses.append)
    assert device.told == [("https://issuer.example/device", "ABC-DEF", 600)]
    assert pauses == [7, 7, 12, 12, 24, 24]
    assert tokens.refresh.startswith("refresh-")
    first, *polls = issuer.forms
    assert (first["path"], first["client_id"], first["scope"]) == ("/device", CLIENT_ID, "openid offline_access")
    assert {poll["grant_type"] for poll in polls} == {"urn:ietf:params:oauth:grant-type:device_code"}
    assert {poll["device_code"] for poll in polls} == {"device-1"}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"error": "access_denied"}, "was declined on the other device"),
        ({"error": "authorization_declined"}, "was declined on the other device"),
        ({"error": "expired_token"}, "nobody typed the code in within 600 s"),
        ({"error": "invalid_grant", "error_description": "device-1 is bad"}, r"invalid_grant: \*\*\* is bad"),
    ],
)
def test_a_device_that_is_refused(issuer: FakeIssuer, answer: Query, problem: str) -> None:
    """Each of the ends of RFC 8628, and Entra's own word for one of them, is told in a sentence."""
    issuer.answers = [(200, DEVICE), (400, answer)]
    with pytest.raises(UnauthenticatedError, match=problem):
        log_in_by_device(issuer, lambda _seconds: None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"verification_uri": "http://plain.example"}, "holds no device code with a page, https://"),
        ({"device_code": ""}, "holds no device code"),
        ({"user_code": 7}, "holds no device code"),
    ],
)
def test_device_codes_that_are_none(issuer: FakeIssuer, change: dict[str, Any], problem: str) -> None:
    """Nobody is sent to a page without TLS."""
    issuer.answers = [(200, {**DEVICE, **change})]
    with pytest.raises(ValetKeyError, match=problem):
        log_in_by_device(issuer, lambda _seconds: None)


def test_a_code_that_nobody_types_in(issuer: FakeIssuer) -> None:
    """The wait ends with the code, whatever the issuer says; an interval of nonsense does not ask without a pause."""
    issuer.answers = [(200, {**DEVICE, "expires_in": 0.2, "interval": -1}), *[PENDING] * 1000]
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(0.05)

    with pytest.raises(UnauthenticatedError, match=r"within 0.2 s; for another one: valetkey login --device"):
        log_in_by_device(issuer, sleep)
    assert set(pauses) <= {5.0}
