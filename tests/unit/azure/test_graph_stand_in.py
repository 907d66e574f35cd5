"""The stand-in for Graph and for ARM's account keys checks what they check, and is as late as they are."""

import ssl
import time
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from valetkey_broker.model import Secret
from valetkey_devstack.azurite import new_key
from valetkey_devstack.ca import make_ca
from valetkey_devstack.control_plane import ControlPlane

TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
SUBSCRIPTION = "33333333-3333-3333-3333-333333333333"
SECRET = Secret("s3cret")
APPLICATION = f"/graph/v1.0/applications(appId='{CLIENT}')"
ACCOUNT = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ValetKey/providers/Microsoft.Storage/storageAccounts/demoaccount"
)
VERSION = "?api-version=2024-01-01"


class Keys:
    """Keys of one account, without a storage that checks them."""

    def __init__(self) -> None:
        self.held = {"key1": new_key(), "key2": new_key()}

    def keys(self, account: str) -> Mapping[str, Secret]:
        return {"demoaccount": self.held}[account]

    async def regenerate(self, account: str, name: str) -> None:
        assert account == "demoaccount"
        self.held[name] = new_key()


class Caller:
    """The service principal, as whoever has its secret."""

    def __init__(self, plane: ControlPlane, session: aiohttp.ClientSession) -> None:
        self.plane = plane
        self._session = session

    async def log_in(self, secret: str = SECRET.reveal(), *, resource: str = "") -> tuple[int, dict[str, Any]]:
        form = {
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "client_secret": secret,
            "scope": f"{resource or self.plane.graph_url}/.default",
        }
        async with self._session.post(f"{self.plane.url}/{TENANT}/oauth2/v2.0/token", data=form) as answer:
            return answer.status, await answer.json()

    async def ask(self, method: str, path: str, body: Any = None, *, resource: str = "") -> tuple[int, Any]:
        _, granted = await self.log_in(resource=resource)
        headers = {"Authorization": f"Bearer {granted['access_token']}"}
        async with self._session.request(method, f"{self.plane.url}{path}", json=body, headers=headers) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else None

    async def add(self, name: str = "ours", **given: Any) -> tuple[int, Any]:
        body = {"passwordCredential": {"displayName": name, **given}}
        return await self.ask("POST", f"{APPLICATION}/addPassword", body)

    async def names(self) -> list[Any]:
        _, body = await self.ask("GET", APPLICATION)
        return [each["displayName"] for each in body["passwordCredentials"]]

    async def remove(self, key_id: str) -> tuple[int, Any]:
        return await self.ask("POST", f"{APPLICATION}/removePassword", {"keyId": key_id})


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    ca = make_ca(tmp_path)
    plane = ControlPlane(TENANT, CLIENT, SECRET, SUBSCRIPTION, ["demoaccount"])
    plane.account_keys.holder = Keys()
    await plane.start("127.0.0.1", 0, *ca.issue("control-plane", tmp_path))
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(ca.ca_file)))
    async with aiohttp.ClientSession(connector=trust, trust_env=False) as session:
        yield Caller(plane, session)
    await plane.stop()


async def test_a_secret_is_made_told_once_and_removed(caller: Caller) -> None:
    """The secret is in the answer to addPassword and nowhere else; once removed, Entra refuses it."""
    status, made = await caller.add(endDateTime="2099-01-01T00:00:00Z")
    assert (status, made["hint"], made["endDateTime"]) == (200, made["secretText"][:3], "2099-01-01T00:00:00Z")
    _, body = await caller.ask("GET", APPLICATION)
    assert [each["secretText"] for each in body["passwordCredentials"]] == [None, None]
    assert (await caller.log_in(made["secretText"]))[0] == 200
    assert await caller.remove(made["keyId"]) == (204, None)
    assert (await caller.log_in(made["secretText"]))[1]["error_codes"] == [7000215]
    status, body = await caller.remove(made["keyId"])
    assert (status, body["error"]["code"]) == (400, "Request_BadRequest")


async def test_only_an_owner_with_the_permission_may(caller: Caller) -> None:
    """OwnedBy is of use to owners only, and for no other application; a token has the permissions of its time."""
    caller.plane.graph.owned = False
    assert (await caller.add())[1]["error"]["code"] == "Authorization_RequestDenied"
    caller.plane.graph.owned = True
    assert (await caller.ask("GET", APPLICATION.replace(CLIENT, TENANT)))[0] == 403
    caller.plane.graph_roles.clear()
    assert (await caller.add())[0] == 403
    status, body = await caller.ask("GET", APPLICATION, resource=caller.plane.url)
    assert (status, body["error"]["code"]) == (401, "InvalidAuthenticationToken")


@pytest.mark.parametrize("given", [{"secretText": "mine"}, {"keyId": CLIENT}, {"endDateTime": "soon"}])
async def test_what_graph_makes_itself_cannot_be_given(caller: Caller, given: dict[str, str]) -> None:
    """A caller chooses neither secret nor id, and an end is a time."""
    assert (await caller.add(**given))[0] == 400


async def test_a_full_application_takes_no_more(caller: Caller) -> None:
    """Applications have a limit of secrets."""
    caller.plane.graph.quota = 2
    assert [(await caller.add())[0] for _ in range(2)] == [200, 400]


async def test_a_new_secret_gets_around_slowly(caller: Caller) -> None:
    """It may be neither taken nor listed nor removed at first, and then on every second try."""
    passwords = caller.plane.passwords
    passwords.works_after = passwords.listed_after = 60.0
    passwords.every_second_try = True
    _, made = await caller.add()
    assert (await caller.log_in(made["secretText"]))[0] == 401
    assert await caller.names() == ["by hand"]
    assert (await caller.remove(made["keyId"]))[0] == 400
    caller.plane.ahead = 61.0
    tries = [(await caller.log_in(made["secretText"]))[0] for _ in range(4)]
    assert sorted(tries) == [200, 200, 401, 401]
    assert await caller.names() == ["by hand", "ours"]


async def test_an_answer_is_lost_after_the_work_was_done(caller: Caller) -> None:
    """The connection breaks, and the secret is there all the same."""
    caller.plane.lose("add-password", times=1)
    with pytest.raises(aiohttp.ClientError):
        await caller.add()
    assert await caller.names() == ["by hand", "ours"]
    caller.plane.fail("remove-password", 429, retry_after=7, times=1)
    assert (await caller.remove("any"))[1]["error"]["code"] == "TooManyRequests"


async def test_account_keys_are_listed_and_replaced_by_name(caller: Caller) -> None:
    """Both keys are told; one is replaced, and the other stays."""
    arm = caller.plane.url
    _, before = await caller.ask("POST", f"{ACCOUNT}/listKeys{VERSION}", resource=arm)
    status, after = await caller.ask("POST", f"{ACCOUNT}/regenerateKey{VERSION}", {"keyName": "key2"}, resource=arm)
    assert (status, [each["keyName"] for each in after["keys"]]) == (200, ["key1", "key2"])
    same = [old["value"] == new["value"] for old, new in zip(before["keys"], after["keys"], strict=True)]
    assert same == [True, False]
    path = f"{ACCOUNT}/regenerateKey{VERSION}"
    assert (await caller.ask("POST", path, {"keyName": "primary"}, resource=arm))[0] == 400
    caller.plane.account_keys.allowed = {"listKeys"}
    status, body = await caller.ask("POST", path, {"keyName": "key1"}, resource=arm)
    assert (status, body["error"]["code"]) == (403, "AuthorizationFailed")
    assert (await caller.ask("POST", f"{ACCOUNT}x/listKeys{VERSION}", resource=arm))[0] == 404


async def test_azures_clock_may_be_another(caller: Caller) -> None:
    """Answers are dated by Azure's clock, which need not be this machine's."""
    caller.plane.ahead = 960.0
    async with caller._session.get(f"{caller.plane.url}/{TENANT}/discovery/v2.0/keys") as answer:
        ahead = parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()
    assert 950 < ahead < 970
    assert await caller.names() == ["by hand"]
