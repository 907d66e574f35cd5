"""Whether an account has a hierarchical namespace: learnt from Resource Manager or storage, and never guessed."""

import time

import pytest
from aiohttp import web

from support.azure_stack import LOGS, ML, AzureStack, make_connector, make_credential
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Container

_HEADER = "x-ms-is-hns-enabled"


def _asks_account(request: web.Request) -> bool:
    return request.query.get("comp") == "properties" and request.query.get("restype") == "account"


def _with_token(request: web.Request) -> bool:
    return _asks_account(request) and "sig" in request.query


def _with_entra(request: web.Request) -> bool:
    return _asks_account(request) and "sig" not in request.query


async def _told(azure: AzureStack) -> bool:
    connector, credential = make_connector(storage_account=ML), make_credential()
    now = int(time.time())
    key = await azure.cloud.signing_key(connector, credential, ML, starts=now - 900, expires=now + 3600)
    container = Container(ML, "demo-datasets", azure.profile.container_url(ML, "demo-datasets"))
    return await azure.cloud.hierarchical(connector, credential, container, key)


async def test_resource_manager_says_it_of_each_account_that_it_lists(azure: AzureStack) -> None:
    """The search for accounts brings it along; what Resource Manager leaves out stays unknown."""
    azure.control_plane.set_properties(ML, isHnsEnabled=True)
    azure.control_plane.set_properties(LOGS, isHnsEnabled=None)
    search = await azure.cloud.find_accounts(make_connector(), make_credential())
    assert search.hierarchical == {ML: True}
    assert list(search.accounts) == [LOGS, ML]


@pytest.mark.parametrize("said", [True, False])
async def test_storage_says_it_where_nobody_searches(azure: AzureStack, *, said: bool) -> None:
    """A connector with an account of its own asks that account, with its own credential."""
    azure.proxy.answer(_with_entra, 200, "", "text/plain", headers={_HEADER: str(said).lower()})
    assert await _told(azure) is said


async def test_a_token_asks_where_entra_is_not_heard(azure: AzureStack) -> None:
    """Azure documents the question for keys and tokens only: the broker asks with one of its own for the container."""
    azure.proxy.refuse(_with_entra, 403, "AuthorizationPermissionMismatch")
    azure.proxy.answer(_with_token, 200, "", "text/plain", headers={_HEADER: "true"})
    assert await _told(azure) is True


async def test_what_storage_leaves_out_is_not_guessed(azure: AzureStack) -> None:
    """Azurite answers the token and does not say: an error that names the account, and no directory for anybody."""
    azure.proxy.refuse(_with_entra, 403, "AuthorizationPermissionMismatch")
    with pytest.raises(BrokerError, match="does not say whether it has a hierarchical namespace") as caught:
        await _told(azure)
    assert caught.value.reason is Reason.CLOUD_REQUEST_REFUSED
    assert caught.value.metadata["account"] == ML


async def test_what_passes_is_not_taken_for_an_answer(azure: AzureStack) -> None:
    """A busy storage is no flat account."""
    azure.proxy.refuse(_asks_account, 503, "ServerBusy")
    with pytest.raises(BrokerError) as caught:
        await _told(azure)
    assert caught.value.reason is Reason.CLOUD_THROTTLED
