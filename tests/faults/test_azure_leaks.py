"""A planted secret, searched for in everything that comes out of the adapter when things go wrong."""

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote_plus

import pytest
from aiohttp import web

from support.azure_stack import CLIENT, ML, PLANTED, TENANT, AzureStack, make_connector, make_credential
from support.cloud_containers import all_containers
from support.entra_certificates import make_certificate
from support.fault_proxy import asks_for_key
from valetkey_broker.adapters.azure import AzureCloud
from valetkey_broker.adapters.azure.auth_methods.implicit import NoSecret
from valetkey_broker.adapters.azure.client_certificate import read_client_certificate
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import Connector, Credential, ImplicitSource

# An Entra, or something posing as it, that sends back what it was sent.
_ECHO_TEXT = f"client_secret={PLANTED.reveal()} {quote_plus(PLANTED.reveal())}"
_ECHOES = {
    "refusal": (401, f'{{"error": "invalid_client", "error_description": "AADSTS7000215: {_ECHO_TEXT}"}}'),
    "refusal without a code": (400, f'{{"error": "invalid_client", "error_description": "{_ECHO_TEXT}"}}'),
    "html": (400, f"<html>error: {_ECHO_TEXT}</html>"),
    "html with 200": (200, f"<html>{_ECHO_TEXT}</html>"),
    "broken JSON": (200, f'{{"{_ECHO_TEXT}'),
    "busy": (503, f"<html>{_ECHO_TEXT}</html>"),
}


def _assert_clean(error: BaseException, logs: str) -> None:
    seen: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or each in seen:
            continue
        seen.append(each)
        # The context too, which `from` only hides.
        pending += [each.__cause__, each.__context__]
    text = "\n".join(part for each in seen for part in (str(each), repr(each), repr(each.args), repr(vars(each))))
    _assert_free(text + "".join(traceback.format_exception(error)) + logs)


def _assert_free(text: str) -> None:
    # "eyJ" begins every JSON Web Token.
    for needle in (PLANTED.reveal(), quote_plus(PLANTED.reveal()), "eyJ"):
        assert needle not in text


def _certified() -> tuple[Connector, Credential]:
    return make_connector(), Credential(1, read_client_certificate(make_certificate().pem(), ""))


def _of_the_environment() -> tuple[Connector, Credential]:
    azure = replace(make_connector().azure, tenant_id="", client_id="", implicit_source="environment")
    return replace(make_connector(), auth_method="implicit", azure=azure), Credential(1, NoSecret())


@pytest.mark.parametrize("way", [_certified, _of_the_environment])
async def test_an_entra_that_echoes_what_it_was_sent(
    azure: AzureStack,
    way: Callable[[], tuple[Connector, Credential]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither a signed assertion nor the environment's secret comes back in an error, or gets into the log."""
    caplog.set_level(logging.DEBUG)
    for name, value in {"TENANT_ID": TENANT, "CLIENT_ID": CLIENT, "CLIENT_SECRET": PLANTED.reveal()}.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    cloud = AzureCloud({"dev": replace(azure.profile, implicit_sources=tuple(ImplicitSource))})
    echo = f"client_assertion=eyJhbGciOi.eyJzdWIi.c2ln {_ECHO_TEXT}"
    for status, body in (
        (401, f'{{"error": "invalid_client", "error_description": "AADSTS700027: {echo}"}}'),
        (503, f"<html>{echo}</html>"),
        (200, f"<html>{echo}</html>"),
    ):
        azure.control_plane.fail("token", status, body=body)
        connector, credential = way()
        with pytest.raises(BrokerError) as caught:
            await cloud.log_in(connector, credential)
        _assert_clean(caught.value, caplog.text)
    azure.control_plane.heal()
    await cloud.close()


async def test_a_machine_that_echoes_its_token(
    azure: AzureStack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What an identity's endpoint answers, token or rubbish, stays out of errors and log; so does its header."""
    caplog.set_level(logging.DEBUG)
    answers = iter(
        [
            web.json_response({"error": "invalid_request", "error_description": _ECHO_TEXT}, status=400),
            web.json_response({"access_token": f"eyJ{PLANTED.reveal()}"}),
            web.Response(status=500, text=_ECHO_TEXT),
            web.Response(text=_ECHO_TEXT),
        ]
    )

    async def answer(_request: web.Request) -> web.StreamResponse:
        return next(answers)

    app = web.Application()
    app.router.add_get("/token", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}/token")
    monkeypatch.setenv("IDENTITY_HEADER", PLANTED.reveal())
    cloud = AzureCloud({"dev": replace(azure.profile, implicit_sources=tuple(ImplicitSource))})
    connector, credential = _of_the_environment()
    connector = replace(connector, azure=replace(connector.azure, implicit_source="managed-identity"))
    for _ in range(4):
        with pytest.raises(BrokerError) as caught:
            await cloud.log_in(connector, credential)
        _assert_clean(caught.value, caplog.text)
    await cloud.close()
    await runner.cleanup()


@pytest.mark.parametrize("kind", _ECHOES)
async def test_an_entra_that_echoes_the_secret(azure: AzureStack, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither error nor log shows the secret, even if Entra's own text does and the log is as loud as it gets."""
    caplog.set_level(logging.DEBUG)
    status, body = _ECHOES[kind]
    azure.control_plane.fail("token", status, body=body)
    with pytest.raises(BrokerError) as caught:
        await azure.cloud.log_in(make_connector(), make_credential())
    _assert_clean(caught.value, caplog.text)
    assert "AzureCallError" in repr(caught.value.__cause__)


async def test_a_storage_that_echoes_the_token(azure: AzureStack, caplog: pytest.LogCaptureFixture) -> None:
    """The Entra token is a secret as well, for as long as it lasts."""
    caplog.set_level(logging.DEBUG)
    azure.proxy.refuse(asks_for_key(ML), 403, "AuthorizationPermissionMismatch", f"Bearer eyJ {PLANTED.reveal()}")
    now = time.time()
    with pytest.raises(BrokerError) as caught:
        await azure.cloud.signing_key(make_connector(), make_credential(), ML, starts=now, expires=now + 3600)
    _assert_clean(caught.value, caplog.text)


async def test_success_logs_no_secret(azure: AzureStack, caplog: pytest.LogCaptureFixture) -> None:
    """A whole round, log-in to key, leaves neither secret nor token in the log."""
    caplog.set_level(logging.DEBUG)
    connector, credential = make_connector(), make_credential()
    await azure.cloud.log_in(connector, credential)
    await all_containers(azure.cloud, connector, credential)
    now = time.time()
    key = await azure.cloud.signing_key(connector, credential, ML, starts=now, expires=now + 3600)
    text = caplog.text + repr(key) + repr(vars(azure.cloud)) + repr(credential)
    _assert_free(text)
    assert key.material._sdk_arguments()["user_delegation_key"].value not in text
