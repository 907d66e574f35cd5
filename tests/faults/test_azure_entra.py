"""Entra in trouble, or at odds with what it is given."""

import asyncio
import time
from dataclasses import replace

import pytest

from support.azure_stack import ML, PLANTED, AzureStack, impatient, make_connector, make_credential
from support.cloud_containers import all_containers
from support.stopwatch import ends_within
from valetkey_broker.adapters.azure import AzureCloud
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Credential, Secret


async def _refused(
    azure: AzureStack, connector: Connector | None = None, credential: Credential | None = None
) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        await azure.cloud.log_in(connector or make_connector(), credential or make_credential())
    assert caught.value.metadata["step"] == "log in to Entra"
    return caught.value


async def test_an_expired_secret(azure: AzureStack) -> None:
    """People are told that it expired, not that they mistyped it."""
    azure.control_plane.expire_secret(PLANTED)
    error = await _refused(azure)
    assert error.reason is Reason.CLOUD_CREDENTIAL_REJECTED
    assert "AADSTS7000222 the client secret has expired" in error.message


async def test_an_unknown_tenant_and_an_unknown_application(azure: AzureStack) -> None:
    """Each id that can be mistyped has its own code and its own advice."""
    nowhere = "99999999-9999-9999-9999-999999999999"
    for connector, code, advice in (
        (make_connector(tenant_id=nowhere), "AADSTS90002", "Check the tenant id"),
        (make_connector(client_id=nowhere), "AADSTS700016", "Check the client id"),
    ):
        error = await _refused(azure, connector)
        assert error.reason is Reason.CLOUD_CREDENTIAL_REJECTED
        assert error.metadata["azure_code"] == code
        assert advice in error.message


async def test_a_new_secret_works_after_a_while(azure: AzureStack) -> None:
    """Entra takes seconds to know a new secret: the first refusal says so, and is not kept in memory."""
    fresh = make_credential(Secret("fresh-secret"))
    password = azure.control_plane.passwords.add(Secret("fresh-secret"), None, works_after=3600)
    connector = make_connector()
    error = await _refused(azure, connector, fresh)
    assert error.metadata["azure_code"] == "AADSTS7000215"
    assert "just made" in error.message
    password.works_from = 0.0
    await azure.cloud.log_in(connector, fresh)


async def test_one_server_that_does_not_know_a_secret_yet_is_no_last_word(azure: AzureStack) -> None:
    """After a rotation some of Entra's servers take the new secret later: who asks for a token is not told of it."""
    fresh = make_credential(Secret("fresh-secret"))
    azure.control_plane.passwords.add(Secret("fresh-secret"), None).every_second_try = True
    assert await all_containers(azure.cloud, make_connector(storage_account=ML), fresh)
    assert azure.control_plane.requests["token"] == 2


async def test_a_secret_that_nobody_knows_is_told_in_the_end(azure: AzureStack) -> None:
    """A few tries, then the word is final."""
    with pytest.raises(BrokerError) as caught:
        await all_containers(azure.cloud, make_connector(storage_account=ML), make_credential(Secret("wrong")))
    assert caught.value.metadata["azure_code"] == "AADSTS7000215"
    assert azure.control_plane.requests["token"] == 3


async def test_a_removed_secret_fails_a_fresh_login(azure: AzureStack) -> None:
    """A log-in asks Entra each time: a token in memory proves nothing about the secret."""
    connector, credential = make_connector(), make_credential()
    await azure.cloud.log_in(connector, credential)
    azure.control_plane.remove_secret(PLANTED)
    assert (await _refused(azure, connector, credential)).reason is Reason.CLOUD_CREDENTIAL_REJECTED


async def test_401(azure: AzureStack) -> None:
    """Any refusal that names a code is the credential's."""
    azure.control_plane.fail("token", 401)
    assert (await _refused(azure)).reason is Reason.CLOUD_CREDENTIAL_REJECTED


async def test_429_returns_at_once_with_the_wait(azure: AzureStack) -> None:
    """The broker does not sleep while a caller waits; the caller is told how long."""
    azure.control_plane.fail("token", 429, retry_after=17)
    with ends_within():
        error = await _refused(azure)
    assert error.reason is Reason.CLOUD_THROTTLED
    assert error.retry_after == 17
    assert azure.control_plane.requests["token"] == 1


@pytest.mark.parametrize("body", [None, "<html>busy</html>"], ids=["json", "html"])
async def test_503(azure: AzureStack, body: str | None) -> None:
    """Whatever its body, 503 is trouble of the cloud's, and a wait that is named is passed on."""
    azure.control_plane.fail("token", 503, body=body)
    assert (await _refused(azure)).reason is Reason.CLOUD_UNAVAILABLE
    azure.control_plane.fail("token", 503, body=body, retry_after=3)
    error = await _refused(azure)
    assert (error.reason, error.retry_after) == (Reason.CLOUD_THROTTLED, 3)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>Please log in to the hotel's network</html>"),
        (200, "{broken"),
        (200, "[]"),
        (200, "{}"),
        (200, '{"access_token": "x"}'),
        (200, '{"access_token": 7, "expires_in": "soon", "token_type": []}'),
        (200, '"error"'),
        (401, "<html>error: proxy log-in needed</html>"),
        (400, '{"no": "fields"}'),
        (302, "moved"),
    ],
)
async def test_rubbish(azure: AzureStack, status: int, body: str) -> None:
    """An answer Entra would not give never counts against the credential, and breaks nothing."""
    azure.control_plane.fail("token", status, body=body)
    error = await _refused(azure)
    assert error.reason is Reason.CLOUD_UNAVAILABLE
    azure.control_plane.heal()
    await azure.cloud.log_in(make_connector(), make_credential())


async def test_a_cut_connection(azure: AzureStack) -> None:
    """One cut is made good by asking again, quickly and once; more are reported."""
    azure.control_plane.cut("token", times=1)
    await azure.cloud.log_in(make_connector(), make_credential())
    azure.control_plane.cut("token")
    before = azure.control_plane.requests["token"]
    assert (await _refused(azure)).reason is Reason.CLOUD_UNAVAILABLE
    assert azure.control_plane.requests["token"] - before == 2


async def test_no_answer_in_time(azure: AzureStack) -> None:
    """A silent Entra costs one read timeout, not several."""
    azure.control_plane.slow("token", 30)
    async with impatient(azure) as hurried:
        with ends_within(25):
            error = await _refused(hurried)
    assert error.reason is Reason.CLOUD_UNAVAILABLE
    assert "no answer in time" in error.message
    assert azure.control_plane.requests["token"] == 1


async def test_a_slow_answer_is_still_an_answer(azure: AzureStack) -> None:
    """Slow is not broken."""
    azure.control_plane.slow("token", 0.2)
    await azure.cloud.log_in(make_connector(), make_credential())


async def test_a_certificate_that_is_not_trusted(azure: AzureStack) -> None:
    """Nothing is sent to a server of another CA, and the operator is told where to look."""
    cloud = AzureCloud({"dev": replace(azure.profile, ca_file=None)})
    try:
        with pytest.raises(BrokerError, match="Check ca_file") as caught:
            await cloud.log_in(make_connector(), make_credential())
    finally:
        await cloud.close()
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE
    assert azure.control_plane.requests["token"] == 0


async def test_a_cold_herd_is_one_login(azure: AzureStack) -> None:
    """Callers at a cold start are one request to Entra."""
    azure.control_plane.slow("token", 0.1)
    connector, credential = make_connector(), make_credential()
    now = time.time()
    await asyncio.gather(
        *(azure.cloud.signing_key(connector, credential, ML, starts=now, expires=now + 3600) for _ in range(8))
    )
    assert azure.control_plane.requests["token"] == 1


async def test_an_expired_token_is_renewed(azure: AzureStack) -> None:
    """A token that runs out is got anew without anybody's doing."""
    azure.control_plane.token_seconds = 4  # whole seconds, of which the one that has begun counts
    connector, credential = make_connector(storage_account=ML), make_credential()
    await all_containers(azure.cloud, connector, credential)
    await asyncio.sleep(4.1)
    await all_containers(azure.cloud, connector, credential)
    assert azure.control_plane.requests["token"] == 2
