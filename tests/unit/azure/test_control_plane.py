"""The stand-in for Entra and ARM is honest: it checks what they check and says what they say."""

import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from valetkey_broker.model import InvalidFieldError, Secret
from valetkey_devstack.ca import make_ca
from valetkey_devstack.control_plane import ControlPlane

TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
SUBSCRIPTION = "33333333-3333-3333-3333-333333333333"
SECRET = Secret("s3cret")
FORM = {
    "grant_type": "client_credentials",
    "client_id": CLIENT,
    "client_secret": SECRET.reveal(),
    "scope": "https://storage.azure.com/.default",
}


@dataclass
class Running:
    plane: ControlPlane
    session: aiohttp.ClientSession

    async def token(self, tenant: str = TENANT, **changes: str) -> tuple[int, dict[str, Any]]:
        form = {name: value for name, value in {**FORM, **changes}.items() if value}
        async with self.session.post(f"{self.plane.url}/{tenant}/oauth2/v2.0/token", data=form) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str, token: str = "") -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.session.get(f"{self.plane.url}{path}", headers=headers) as answer:
            return answer.status, await answer.json()

    async def arm_token(self) -> str:
        _, body = await self.token(scope=f"{self.plane.url}/.default")
        return str(body["access_token"])


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    ca = make_ca(tmp_path)
    plane = ControlPlane(TENANT, CLIENT, SECRET, SUBSCRIPTION, ["demoaccount"])
    await plane.start("127.0.0.1", 0, *ca.issue("control-plane", tmp_path))
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(ca.ca_file)))
    async with aiohttp.ClientSession(connector=trust, trust_env=False) as session:
        yield Running(plane, session)
    await plane.stop()
    await plane.stop()


async def test_a_token_is_what_azurite_wants(running: Running) -> None:
    """Issuer and audience are v1.0 ones, the signature is checked against the published key."""
    status, body = await running.token()
    assert (status, body["token_type"], body["expires_in"]) == (200, "Bearer", 3599)
    _, keys = await running.get(f"/{TENANT}/discovery/v2.0/keys")
    key = jwt.PyJWK(keys["keys"][0])
    claims = jwt.decode(body["access_token"], key, algorithms=["RS256"], audience="https://storage.azure.com")
    assert claims["iss"] == f"https://sts.windows.net/{TENANT}/"
    assert (claims["appid"], claims["tid"]) == (CLIENT, TENANT)
    assert 3500 < claims["exp"] - time.time() < 3600


@pytest.mark.parametrize(
    ("changes", "status", "error", "code"),
    [
        ({"tenant": CLIENT}, 400, "invalid_request", 90002),
        ({"client_id": TENANT}, 400, "unauthorized_client", 700016),
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": ""}, 401, "invalid_client", 7000216),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"grant_type": ""}, 400, "invalid_request", 900144),
        ({"scope": ""}, 400, "invalid_request", 900144),
        ({"scope": "openid profile"}, 400, "invalid_scope", 70011),
        ({"scope": "https://storage.azure.com/user"}, 400, "invalid_scope", 1002012),
        ({"scope": "https://vault.azure.net/.default"}, 400, "invalid_resource", 500011),
    ],
)
async def test_entra_refuses_with_its_own_codes(
    running: Running, changes: dict[str, str], status: int, error: str, code: int
) -> None:
    """Each thing Entra checks is checked, and answered in Entra's shape."""
    got, body = await running.token(**changes)
    assert (got, body["error"], body["error_codes"]) == (status, error, [code])
    assert body["error_description"].startswith(f"AADSTS{code}: ")
    assert {"timestamp", "trace_id", "correlation_id"} <= body.keys()


async def test_secrets_come_and_go(running: Running) -> None:
    """Two secrets work side by side, as a rotation needs; an expired and a removed one have their own codes."""
    fresh = Secret("fresh")
    running.plane.add_secret(fresh)
    assert (await running.token())[0] == (await running.token(client_secret="fresh"))[0] == 200
    running.plane.expire_secret(SECRET)
    assert (await running.token())[1]["error_codes"] == [7000222]
    running.plane.remove_secret(fresh)
    assert (await running.token(client_secret="fresh"))[1]["error_codes"] == [7000215]
    with pytest.raises(LookupError):
        running.plane.remove_secret(fresh)


async def test_arm_lists_what_a_token_for_arm_may_see(running: Running) -> None:
    """Subscriptions and accounts are there for a token of ARM's audience."""
    token = await running.arm_token()
    status, body = await running.get("/subscriptions?api-version=2022-12-01", token)
    assert (status, body["value"][0]["subscriptionId"]) == (200, SUBSCRIPTION)
    path = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Storage/storageAccounts?api-version=2025-01-01"
    status, body = await running.get(path, token)
    assert (status, [account["name"] for account in body["value"]]) == (200, ["demoaccount"])
    assert running.plane.requests == {"token": 1, "arm": 2}


async def test_arm_checks_its_caller(running: Running) -> None:
    """No token, another audience's, a forged and an expired one, and a missing version each have their code."""
    path = "/subscriptions?api-version=2022-12-01"
    storage = str((await running.token())[1]["access_token"])
    good = await running.arm_token()
    running.plane.token_seconds = -1
    expired = await running.arm_token()
    for token, status, code in (
        ("", 401, "AuthenticationFailed"),
        (storage, 401, "InvalidAuthenticationTokenAudience"),
        (good[:-4] + "AAAA", 401, "InvalidAuthenticationToken"),
        (expired, 401, "ExpiredAuthenticationToken"),
    ):
        got, body = await running.get(path, token)
        assert (got, body["error"]["code"]) == (status, code)
    got, body = await running.get("/subscriptions", good)
    assert (got, body["error"]["code"]) == (400, "MissingApiVersionParameter")


async def test_discovery_documents_are_the_tenants(running: Running) -> None:
    """A library that looks the endpoints up finds them here, and only for this tenant."""
    _, instance = await running.get("/common/discovery/instance")
    _, found = await running.get(f"/{TENANT}/v2.0/.well-known/openid-configuration")
    assert instance["tenant_discovery_endpoint"].startswith(running.plane.url)
    assert found["token_endpoint"] == f"{running.plane.url}/{TENANT}/oauth2/v2.0/token"
    status, _ = await running.get(f"/{CLIENT}/v2.0/.well-known/openid-configuration")
    assert status == 400


async def test_planned_failures_end(running: Running) -> None:
    """A failure lasts as long as it was told to, and `heal` ends all of them."""
    running.plane.fail("token", 503, times=2)
    assert [(await running.token())[0] for _ in range(3)] == [503, 503, 200]
    running.plane.fail("token", 429, retry_after=1.5)
    assert (await running.token())[1]["error_codes"] == [90055]
    running.plane.heal()
    assert (await running.token())[0] == 200


async def test_it_says_no_secret(running: Running) -> None:
    """Neither the stand-in nor its answers show a client secret."""
    _, body = await running.token(client_id=TENANT)
    assert SECRET.reveal() not in repr(vars(running.plane)) + str(body)


async def test_a_port_in_use_is_an_error_that_leaves_nothing(running: Running, tmp_path: Path) -> None:
    """A second stack on the same port is refused, and closes what it had opened."""
    other = ControlPlane(TENANT, CLIENT, SECRET, SUBSCRIPTION)
    port = int(running.plane.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        await other.start("127.0.0.1", port, tmp_path / "control-plane.pem", tmp_path / "control-plane.key")
    assert other._runner is None


def test_ids_are_checked() -> None:
    """Tenant, client and subscription are UUIDs and account names are Azure's, as in the real thing."""
    with pytest.raises(InvalidFieldError):
        ControlPlane("tenant", CLIENT, SECRET, SUBSCRIPTION)
    with pytest.raises(InvalidFieldError):
        ControlPlane(TENANT, CLIENT, SECRET, SUBSCRIPTION, ["Not-An-Account"])
