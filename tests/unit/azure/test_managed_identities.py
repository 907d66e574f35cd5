"""The stand-in for a machine's identities gives tokens only as the real endpoints do."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from valetkey_broker.model import Secret
from valetkey_devstack.control_plane import ControlPlane
from valetkey_devstack.control_plane.managed_identity import ManagedIdentities

TENANT, CLIENT, SUBSCRIPTION = (f"{digit * 8}-1111-1111-1111-111111111111" for digit in "123")
RESOURCE = "https://storage.azure.com"
IMDS = {"api-version": "2018-02-01", "resource": RESOURCE}
APP_SERVICE = {"api-version": "2019-08-01", "resource": RESOURCE}


@pytest.fixture
async def machine() -> AsyncIterator[ManagedIdentities]:
    machine = ControlPlane(TENANT, CLIENT, Secret("x"), SUBSCRIPTION).managed_identities
    await machine.start("127.0.0.1", 0)
    yield machine
    await machine.stop()
    await machine.stop()


async def ask(url: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.get(url, params=query, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def test_what_a_virtual_machine_gives(machine: ManagedIdentities) -> None:
    """Without the header, through a proxy, for an unknown identity or another service there is no token."""
    url, header = f"{machine.url}/metadata/identity/oauth2/token", {"Metadata": "true"}
    status, told = await ask(url, IMDS, header)
    assert (status, told["client_id"], told["resource"]) == (200, machine.system_client_id, RESOURCE)
    machine.assigned.add(CLIENT)
    assert (await ask(url, {**IMDS, "client_id": CLIENT}, header))[1]["client_id"] == CLIENT
    refused: list[tuple[dict[str, str], dict[str, str]]] = [
        (IMDS, {}),
        (IMDS, {**header, "X-Forwarded-For": "192.0.2.1"}),
        ({**IMDS, "client_id": TENANT}, header),
        ({**IMDS, "api-version": "2017-01-01"}, header),
        ({**IMDS, "resource": "https://elsewhere.invalid"}, header),
    ]
    for query, headers in refused:
        assert (await ask(url, query, headers))[0] == 400
    machine.system_client_id = ""
    assert (await ask(url, IMDS, header))[0] == 400


async def test_what_app_service_gives(machine: ManagedIdentities) -> None:
    """Only who has the header of the program's environment gets a token."""
    url, secret = machine.environment["IDENTITY_ENDPOINT"], machine.environment["IDENTITY_HEADER"]
    assert (await ask(url, APP_SERVICE, {"X-IDENTITY-HEADER": secret}))[0] == 200
    assert (await ask(url, APP_SERVICE, {"X-IDENTITY-HEADER": secret[:-1]}))[0] == 403
    assert (await ask(url, APP_SERVICE, {}))[0] == 403
    assert (await ask(url, IMDS, {"X-IDENTITY-HEADER": secret}))[0] == 400
