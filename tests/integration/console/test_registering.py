"""Registering a connector in the console, by forms that are made of the broker's own description."""

import base64
import re
from collections.abc import Iterator
from typing import cast

import pytest

from support.console import Browser, Console
from support.inproc import CLIENT, OPERATOR_KEY, TENANT, bearer
from valetkey.v1 import connector_service_pb2 as pb
from valetkey.v1 import secret_service_pb2 as secret_pb
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKeyMethod
from valetkey_broker.model import CredentialField

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]
BY_SERVICE_PRINCIPAL = "/register/azure/service-principal"
RIGHT, WRONG = "RIGHT~typed.secret", "WRONG~typed.secret"


def typed(name: str, secret: str = RIGHT, **more: str) -> dict[str, str]:
    """Returns a form that is filled in."""
    given = {"given.tenant_id": TENANT, "given.client_id": CLIENT, "given.client_secret": secret}
    return {"name": name, **given, **more}


@pytest.fixture
def as_operator(console: Console) -> Iterator[Browser]:
    """Returns an operator's browser; the cloud takes no other secret than the right one."""
    console.broker.cloud.secrets = {RIGHT}
    yield console.as_operator
    console.broker.cloud.secrets = None


async def connector(console: Console, name: str) -> pb.Connector:
    """Returns a connector as it is stored."""
    request = pb.GetConnectorRequest(name=name)
    return (await console.broker.connectors.GetConnector(request, metadata=bearer(OPERATOR_KEY))).connector


async def test_the_forms_are_the_brokers_own_words(console: Console, as_operator: Browser) -> None:
    """Each auth method has a form of what it takes; secrets go into fields that do not show them."""
    page = (await as_operator.get("/register")).text
    for method in ("service-principal", "account-key", "connection-string", "implicit"):
        assert f'href="/register/azure/{method}"' in page
    assert "/authentication_secret" not in page
    form = (await as_operator.get(BY_SERVICE_PRINCIPAL)).text
    for told in (
        'name="given.client_secret" type="password"',
        'name="file.client_certificate" type="file"',
        'name="given.resource_group"',
        "--client-secret @FILE",
    ):
        assert told in form
    assert '<option value="managed-identity"' not in form
    assert ">managed-identity</option>" in (await as_operator.get("/register/azure/implicit")).text
    assert "expected one of service-principal" in (await as_operator.get("/register/azure/magic", code=404)).text
    await console.as_viewer.get("/register", code=403)
    await console.as_viewer.post(BY_SERVICE_PRINCIPAL, typed("viewers", do="register"), code=403)


async def test_checking_before_registering(console: Console, as_operator: Browser) -> None:
    """Check shows what was looked at and what it would reach, to choose of; nothing is stored before Register."""
    form = typed("checked", do="check", labels="team=ml", expire_time="90d")
    part = (await as_operator.post(BY_SERVICE_PRINCIPAL, form, code=200, hx_request="true")).text
    for told in ("It works", 'state ok">ok', 'name="serves" value="az://demo"', "register checked", "--label team=ml"):
        assert told in part
    assert ("<form" in part, RIGHT in part) == (False, False)
    await as_operator.get("/connectors/checked", code=404)
    form |= {"do": "register", "serves": "az://demo"}
    answer = await as_operator.post(BY_SERVICE_PRINCIPAL, form, code=204, hx_request="true")
    assert answer.headers["hx-redirect"] == "/connectors/checked"
    page = (await as_operator.get("/connectors/checked")).text
    assert "checked is registered, and reaches 1 resource." in page
    stored = await connector(console, "checked")
    assert (stored.resource_id, dict(stored.labels), stored.unverified) == ("az://demo", {"team": "ml"}, False)


async def test_a_wrong_secret(console: Console, as_operator: Browser) -> None:
    """What is wrong is at the form, and what was typed stays, but for the secret; it can be stored all the same."""
    form = typed("wrong", WRONG, do="register", description="<b>mine</b>")
    page = (await as_operator.post(BY_SERVICE_PRINCIPAL, form, code=409)).text
    for told in (
        "CLOUD_CREDENTIAL_REJECTED",
        "A check failed",
        "Request <span",
        "Nothing was stored.",
        'value="wrong"',
        f'value="{CLIENT}"',
        'value="&lt;b&gt;mine&lt;/b&gt;"',
        'value="unverified"',
    ):
        assert told in page
    assert WRONG not in page
    # Once, and not by title, message, check and advice: and once, what was not come to.
    refusal = page.partition('<span class="state failed">')[2].partition('<p class="small">')[2].partition("<")[0]
    assert (bool(refusal), page.count(refusal), page.count(">not tried<")) == (True, 1, 1)
    await as_operator.get("/connectors/wrong", code=404)
    answer = await as_operator.post(BY_SERVICE_PRINCIPAL, form | {"do": "unverified"})
    assert "unverified" in (await as_operator.follow(answer)).text
    assert (await connector(console, "wrong")).unverified
    taken = (await as_operator.post(BY_SERVICE_PRINCIPAL, typed("wrong", do="register"), code=409)).text
    assert "This name is taken" in taken
    assert 'href="#field-name"' in taken


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("labels", "no label", "expected a line such as"),
        ("expire_time", "soon", "expected a duration such as 1h or 90d"),
        ("given.tenant_id", "nobody", "Tenant ID</a>: "),
        ("name", "Upper Case", "lower-case"),
    ],
)
async def test_what_cannot_be_meant(as_operator: Browser, field: str, value: str, told: str) -> None:
    """It is said by the form's own words, at the field and in a summary that leads there; what was typed stays."""
    page = (await as_operator.post(BY_SERVICE_PRINCIPAL, typed("x") | {field: value, "do": "check"}, code=400)).text
    name = field.removeprefix("given.")
    assert (told in page, value in page, RIGHT in page, f"{name}: &#39;" in page) == (True, True, False, False)
    assert _at_field(page, name)


async def test_all_mistakes_come_in_one_answer(as_operator: Browser) -> None:
    """What the console can see for itself, in the order of the page, before the broker is asked."""
    wrong = {"name": "", "given.tenant_id": "", "given.client_id": " ", "labels": "x", "expire_time": "someday"}
    sent = typed("x") | wrong | {"do": "check"}
    part = (await as_operator.post(BY_SERVICE_PRINCIPAL, sent, code=400, hx_request="true")).text
    fields = ["name", "tenant_id", "client_id", "labels", "expire_time"]
    assert re.findall(r'data-field="field-(\w+)"', part) == fields


async def test_a_secret_out_of_a_file(console: Console, as_operator: Browser) -> None:
    """As the command line takes it: without the line break at its end; what is no secret is said, and not shown."""
    form = typed("filed", "", do="register")
    files = {"file.client_secret": ("secret.txt", f"{RIGHT}\n".encode())}
    await as_operator.post(BY_SERVICE_PRINCIPAL, form, files=files)
    assert not (await connector(console, "filed")).unverified
    files = {"file.client_secret": ("secret.bin", b"\x00\xff" + WRONG.encode())}
    page = (await as_operator.post(BY_SERVICE_PRINCIPAL, form, files=files, code=400)).text
    assert "the file is not text" in page
    assert _at_field(page, "client_secret")
    assert WRONG not in page


def _at_field(page: str, field: str) -> bool:
    """Tells whether a summary leads to a field, and the field says what is wrong, to those who listen, too."""
    (control,) = re.findall(f'<(?:input|textarea|select) id="field-{field}"[^>]*>', page)
    told = re.search(f'<span id="field-{field}-problem" class="problem">[^<]+<', page)
    described = re.search(f'aria-describedby="[^"]*field-{field}-problem"', control)
    return f'href="#field-{field}"' in page and 'aria-invalid="true"' in control and bool(told and described)


class _MadeUp(AccountKeyMethod):
    """An auth method that no console was made for."""

    name = "implicit"
    title = "Moon dust"
    help = "Whoever has been there."
    fields = (
        CredentialField("storage_account", secret=False, required=True, help="Which crater.", example="tycho"),
        CredentialField("account_key", secret=True, required=True, help="The dust.", example="@dust.txt"),
        CredentialField(
            "resource_group",
            secret=False,
            required=False,
            help="Which side.",
            example="near",
            choices=("near", "far"),
        ),
    )


async def test_an_auth_method_that_no_console_was_made_for(
    console: Console, as_operator: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker's description is all that a form needs."""
    monkeypatch.setitem(cast("dict[str, object]", AUTH_METHODS), "implicit", _MadeUp())
    assert "Whoever has been there." in (await as_operator.get("/register")).text
    form = (await as_operator.get("/register/azure/implicit")).text
    for told in ("Which crater.", 'name="given.account_key" type="password"', ">far</option>", "tycho"):
        assert told in form
    given = {
        "name": "moon",
        "given.storage_account": "demoaccount",
        "given.account_key": base64.b64encode(b"d" * 64).decode(),
        "do": "check",
    }
    console.broker.cloud.secrets = None
    part = (await as_operator.post("/register/azure/implicit", given, code=200, hx_request="true")).text
    assert "az://models" in part


async def test_a_named_secret(console: Console, as_operator: Browser) -> None:
    """Where there are named secrets, a connector can use one of them."""
    request = secret_pb.CreateSecretRequest(
        name="shared",
        type=pb.CONNECTOR_TYPE_AZURE,
        auth_method=pb.AUTH_METHOD_SERVICE_PRINCIPAL,
        azure=pb.AzureConfig(tenant_id=TENANT, client_id=CLIENT),
        azure_secret=pb.AzureSecret(client_secret=RIGHT),
    )
    await console.broker.secrets.CreateSecret(request, metadata=bearer(OPERATOR_KEY))
    path = "/register/azure/authentication_secret"
    assert f'href="{path}"' in (await as_operator.get("/register")).text
    form = (await as_operator.get(path)).text
    assert ">shared</option>" in form
    assert 'value="check"' not in form
    await as_operator.post(path, {"name": "sharing", "given.authentication_secret": "shared", "do": "register"})
    assert (await connector(console, "sharing")).authentication_secret == "shared"
    page = (await as_operator.get("/connectors/sharing")).text
    assert "valetkey secret list-versions shared" in page
