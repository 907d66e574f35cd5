"""People log in at the stand-in for Entra: it checks what Entra checks, says what it says, and takes our client."""

import asyncio
import base64
import hashlib
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import jwt
import pytest

from valetkey.login.flows import by_browser, by_device
from valetkey.login.issuer import discover
from valetkey.login.issuer_http import IssuerHttp
from valetkey.login.issuer_tokens import Tokens
from valetkey.login.login_offer import LoginOffer
from valetkey_broker.model import Secret
from valetkey_devstack.ca import make_ca
from valetkey_devstack.control_plane import ControlPlane
from valetkey_devstack.control_plane.log_ins import DEVICE_CODE
from valetkey_devstack.control_plane.people import PEOPLE

TENANT = "11111111-1111-1111-1111-111111111111"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
ADA = PEOPLE[0]


@dataclass
class Running:
    plane: ControlPlane
    session: aiohttp.ClientSession
    ca_file: Path

    @property
    def query(self) -> dict[str, str]:
        """A request that is in order."""
        return {
            "response_type": "code",
            "client_id": self.plane.log_ins.client_id,
            "redirect_uri": "http://127.0.0.1:5000/callback",
            "scope": " ".join(self.plane.log_ins.scopes),
            "state": "the-state",
            "nonce": "the-nonce",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }

    async def authorize(self, person: str = "ada", **changes: str) -> tuple[int, str, dict[str, str]]:
        """Returns status, page and what the browser would bring back, for a person who chooses to be one."""
        query = {name: value for name, value in {**self.query, **changes}.items() if value}
        where = f"{self.plane.url}/{TENANT}/oauth2/v2.0/authorize"
        async with self.session.post(where, params=query, data={"person": person}, allow_redirects=False) as answer:
            back = parse_qs(urlsplit(answer.headers.get("Location", "")).query)
            return answer.status, await answer.text(), {name: values[0] for name, values in back.items()}

    async def token(self, **form: str) -> tuple[int, dict[str, Any]]:
        given = {"client_id": self.plane.log_ins.client_id, **form}
        async with self.session.post(f"{self.plane.url}/{TENANT}/oauth2/v2.0/token", data=given) as answer:
            return answer.status, await answer.json()

    async def redeem(self, code: str, **changes: str) -> tuple[int, dict[str, Any]]:
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        return await self.token(**{**form, "redirect_uri": self.query["redirect_uri"], **changes})

    async def refresh(self, token: str) -> tuple[int, dict[str, Any]]:
        return await self.token(grant_type="refresh_token", refresh_token=token)

    async def logged_in(self) -> dict[str, Any]:
        _, _, back = await self.authorize()
        status, tokens = await self.redeem(back["code"])
        assert status == 200
        return tokens

    async def type_code(self, code: str, person: str) -> int:
        page = f"{self.plane.url}/common/oauth2/deviceauth"
        async with self.session.post(page, data={"user_code": code, "person": person}) as answer:
            return answer.status

    async def by_client(self, log_in: Any, teller: Any, **more: Any) -> Tokens:
        """Logs in with our own client."""
        log_ins = self.plane.log_ins
        offer = LoginOffer(log_ins.issuer, log_ins.client_id, tuple(log_ins.scopes), log_ins.api_id)
        http = IssuerHttp(self.ca_file, seconds=60)
        found: Tokens = await asyncio.to_thread(
            lambda: log_in(http, discover(http, offer.issuer), offer, teller, **more)
        )
        return found


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    ca = make_ca(tmp_path)
    plane = ControlPlane(TENANT, "22222222-2222-2222-2222-222222222222", Secret("s3cret"), TENANT)
    await plane.start("127.0.0.1", 0, *ca.issue("control-plane", tmp_path))
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(ca.ca_file)))
    async with aiohttp.ClientSession(connector=trust, trust_env=False) as session:
        yield Running(plane, session, ca.ca_file)
    await plane.stop()


async def refused(call: Any) -> tuple[int, str, int]:
    """Returns the status, the error and the number of a refusal."""
    status, body = await call
    return status, body["error"], body["error_codes"][0]


async def test_tokens_are_of_the_person_and_for_the_api(running: Running) -> None:
    """A v2.0 token for the broker, and an ID token of this log-in, both signed by the published key."""
    status, _, back = await running.authorize()
    assert (status, back["state"]) == (302, "the-state")
    _, tokens = await running.redeem(back["code"])
    async with running.session.get(f"{running.plane.url}/{TENANT}/discovery/v2.0/keys") as answer:
        key = jwt.PyJWK((await answer.json())["keys"][0])
    log_ins = running.plane.log_ins
    access = jwt.decode(tokens["access_token"], key, audience=log_ins.api_id, issuer=log_ins.issuer)
    assert f"oidc:{access['iss']}#{access['sub']}" == log_ins.principal(ADA)
    assert (access["oid"], access["azp"], access["ver"]) == (ADA.object_id(TENANT), log_ins.client_id, "2.0")
    identity = jwt.decode(tokens["id_token"], key, audience=log_ins.client_id, issuer=log_ins.issuer)
    assert identity["nonce"] == "the-nonce"
    assert identity["sub"] != access["sub"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client_id": "33333333-3333-3333-3333-333333333333"}, 700016),
        ({"redirect_uri": "https://evil.example/callback"}, 50011),
        ({"redirect_uri": "http://127.0.0.1:5000/elsewhere"}, 50011),
        ({"redirect_uri": "http://127.0.0.1@evil.example/callback"}, 50011),
        ({"redirect_uri": ""}, 50011),
    ],
)
async def test_nobody_is_sent_to_a_place_that_is_not_registered(
    running: Running, changes: dict[str, str], code: int
) -> None:
    """What cannot be sent back safely is shown on the page."""
    status, page, back = await running.authorize(**changes)
    assert (status, back) == (400, {})
    assert f"AADSTS{code}: " in page


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "https://graph.microsoft.com/.default"}, "invalid_scope"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"person": ""}, "access_denied"),
    ],
)
async def test_other_refusals_go_back(running: Running, changes: dict[str, str], error: str) -> None:
    """The client hears of them, with its state."""
    status, _, back = await running.authorize(**changes)
    assert (status, back["error"], back["state"]) == (302, error, "the-state")
    assert "code" not in back


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant", 501481),
        ({"code_verifier": ""}, "invalid_grant", 501481),
        ({"redirect_uri": "http://127.0.0.1:5001/callback"}, "invalid_client", 500112),
        ({"code": "made-up"}, "invalid_grant", 9002313),
        ({"client_id": "33333333-3333-3333-3333-333333333333"}, "unauthorized_client", 700016),
    ],
)
async def test_a_code_is_for_who_asked_for_it(running: Running, changes: dict[str, str], error: str, code: int) -> None:
    """PKCE, redirect URI and client have to be those of the request."""
    _, _, back = await running.authorize()
    assert await refused(running.redeem(**{"code": back["code"], **changes})) == (400, error, code)


async def test_a_code_is_good_for_once_and_not_for_long(running: Running) -> None:
    """A second use is refused and ends what came of the first; an old one is refused."""
    _, _, back = await running.authorize()
    _, tokens = await running.redeem(back["code"])
    assert await refused(running.redeem(back["code"])) == (400, "invalid_grant", 54005)
    assert await refused(running.refresh(tokens["refresh_token"])) == (400, "invalid_grant", 50173)
    running.plane.log_ins.code_seconds = 0
    _, _, back = await running.authorize()
    assert await refused(running.redeem(back["code"])) == (400, "invalid_grant", 70008)


async def test_refresh_tokens_rotate(running: Running) -> None:
    """Each is good for once; the second use of one ends the log-in, and so does an administrator."""
    first = (await running.logged_in())["refresh_token"]
    status, second = await running.refresh(first)
    assert status == 200
    assert second["refresh_token"] != first
    assert await refused(running.refresh(first)) == (400, "invalid_grant", 50173)
    assert await refused(running.refresh(second["refresh_token"])) == (400, "invalid_grant", 50173)
    assert await refused(running.refresh("made-up")) == (400, "invalid_grant", 9002313)
    other = await running.logged_in()
    running.plane.log_ins.end(ADA)
    assert await refused(running.refresh(other["refresh_token"])) == (400, "invalid_grant", 50173)


async def test_device_codes(running: Running) -> None:
    """Pending until somebody decides, slower for who asks too often, once, and not for ever."""
    log_ins = running.plane.log_ins
    devices = f"{running.plane.url}/{TENANT}/oauth2/v2.0/devicecode"

    async def code() -> dict[str, Any]:
        form = {"client_id": log_ins.client_id, "scope": " ".join(log_ins.scopes)}
        async with running.session.post(devices, data=form) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def poll(device: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return await running.token(grant_type=DEVICE_CODE, device_code=device["device_code"])

    log_ins.interval = 60
    slow = await code()
    assert await refused(poll(slow)) == (400, "authorization_pending", 70016)
    assert (await refused(poll(slow)))[1] == "slow_down"
    log_ins.interval = 0
    one, other = await code(), await code()
    assert await running.type_code("WRONG", "ada") == 400
    assert await running.type_code(one["user_code"].lower(), "ada") == 200
    assert await running.type_code(one["user_code"], "ada") == 400
    status, tokens = await poll(one)
    assert status == 200
    assert "refresh_token" in tokens
    assert (await refused(poll(one)))[1] == "bad_verification_code"
    assert await running.type_code(other["user_code"], "") == 200
    assert (await refused(poll(other)))[1] == "authorization_declined"
    log_ins.device_seconds = 0
    late = await code()
    assert (await refused(poll(late)))[1] == "expired_token"
    assert await running.type_code(late["user_code"], "ada") == 400


async def test_our_client_logs_in_here(running: Running) -> None:
    """By browser and by code, without a real browser: the redirect is followed, the code is typed in."""
    loop = asyncio.get_running_loop()

    class Person:
        def open_browser(self, url: str) -> None:
            asyncio.run_coroutine_threadsafe(self._follow(url), loop)

        async def _follow(self, url: str) -> None:
            async with running.session.get(url) as page:
                assert re.findall(r'value="(\w+)"', await page.text()) == [person.user for person in PEOPLE]
            async with running.session.post(url, data={"person": "ada"}) as answer:
                assert "You may close this page" in await answer.text()

        def show_code(self, url: str, code: str, seconds: float) -> None:
            assert (url, seconds) == (f"{running.plane.url}/common/oauth2/deviceauth", 900)
            asyncio.run_coroutine_threadsafe(running.type_code(code, "sam"), loop).result(60)

    running.plane.log_ins.interval = 0
    tokens = await running.by_client(by_browser, Person(), alone=True)
    other = await running.by_client(by_device, Person(), sleep=lambda _seconds: None)
    subjects = [
        jwt.decode(each.access, options={"verify_signature": False})["preferred_username"] for each in (tokens, other)
    ]
    assert subjects == ["ada@example.org", "sam@example.org"]
