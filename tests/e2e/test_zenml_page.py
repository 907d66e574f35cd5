"""Every line of ZenML's page on the Azure artifact store, typed with `valetkey` in place of `zenml`.

What is ours works as it is written there; what is ZenML's is answered with what to type.
"""

import shlex
from pathlib import Path

import pytest

from support.e2e import DEMO, Live, unique
from valetkey_devstack.demo_data import DEMO_ACCOUNT

pytestmark = [pytest.mark.xdist_group("e2e-live"), pytest.mark.unmeasured]

CONTAINER = DEMO.removeprefix("az://")


def typed(live: Live, line: str, **values: str) -> tuple[str, ...]:
    """Returns the words of a line of the page, with values in its places."""
    stack = live.stack
    places = {"TENANT": stack.tenant_id, "CLIENT": stack.client_id, "CONTAINER": CONTAINER, **values}
    return tuple(shlex.split(line.format(**places)))


def columns(table: str) -> list[str]:
    """Returns the heading of the first table in an output."""
    line = next(each for each in table.splitlines() if "RESOURCE TYPE" in each)
    return [name.strip() for name in line.replace("┃", "│").strip("│ ").split("│")]


@pytest.mark.parametrize("resource_id", ["{CONTAINER}", "az://{CONTAINER}"])
def test_register_prints_what_it_reaches(live: Live, resource_id: str) -> None:
    """`service-connector register` as the page has it: underscores, equals signs, the secret on the command line."""
    name, secret = unique("page"), live.stack.client_secret.reveal()
    ran = live.admin.installed.done(
        *typed(
            live,
            "service-connector register {NAME} --type azure --auth-method service-principal --tenant_id={TENANT} "
            "--client_id={CLIENT} --client_secret={SECRET} --resource-type blob-container --resource-id " + resource_id,
            NAME=name,
            SECRET=secret,
        )
    )
    assert columns(ran.out) == ["RESOURCE TYPE", "RESOURCE NAMES"]
    assert DEMO in ran.out
    assert "other users of this machine can see it" in ran.err
    live.delete(name)


def test_list_resources(live: Live) -> None:
    """The page's columns, over all connectors."""
    name = live.new_connector()
    ran = live.admin.done(*typed(live, "service-connector list-resources --resource-type blob-container"))
    assert columns(ran.out) == [
        "CONNECTOR ID",
        "CONNECTOR NAME",
        "CONNECTOR TYPE",
        "RESOURCE TYPE",
        "RESOURCE NAMES",
    ]
    assert name in ran.out
    live.delete(name)


@pytest.fixture
def secrets(live: Live) -> dict[str, str]:
    """What the page's secrets hold, of the stack's account and principal."""
    return {
        "ACCOUNT": DEMO_ACCOUNT,
        "KEY": live.secret_files.account_key.read_text().strip(),
        "STRING": live.secret_files.connection_string.read_text().strip(),
        "SECRET": live.stack.client_secret.reveal(),
    }


@pytest.mark.parametrize(
    "line",
    [
        "secret create {NAME} --account_name={ACCOUNT} --account_key={KEY}",
        "secret create {NAME} --connection_string={STRING}",
        (
            "secret create {NAME} --account_name={ACCOUNT} --tenant_id={TENANT} --client_id={CLIENT} "
            "--client_secret={SECRET}"
        ),
        "secret create {NAME} --values=@{FILE}",
    ],
    ids=["account key", "connection string", "service principal", "values"],
)
def test_secrets(live: Live, secrets: dict[str, str], tmp_path: Path, line: str) -> None:
    """Each form of `secret create` makes a secret that a connector uses, by which a token reads; none shows it."""
    name = f"az_{unique('secret').replace('-', '_')}"
    file = tmp_path / "values.yaml"
    file.write_text(f"account_name: {secrets['ACCOUNT']}\naccount_key: {secrets['KEY']}\n")
    made = live.admin.done(*typed(live, line, NAME=name, FILE=str(file), **secrets))
    connector = unique("page")
    used = live.admin.done(
        *("service-connector", "register", connector, "--type", "azure", "--resource-type", "blob-container"),
        *("--resource-id", CONTAINER, f"--authentication_secret={name}"),
    )
    listed = live.admin.done("secret", "list")
    described = live.admin.done("secret", "describe", name)
    assert connector in described.out
    grant = live.allow(connector)
    token = live.issue("--connector", connector, "-o", "json", permissions="read,write,delete").json
    blob = live.container(token["sas_url"]).get_blob_client(name)
    blob.upload_blob(b"by the page's secret")
    assert blob.download_blob().readall() == b"by the page's secret"
    blob.delete_blob()
    for ran in (made, used, listed, described):
        assert not any(secrets[each] in ran.out + ran.err for each in ("KEY", "STRING", "SECRET"))
    live.admin.done("grant", "delete", grant, "--yes")
    live.delete(connector)
    live.admin.done("secret", "delete", name, "--yes")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "artifact-store register az_store -f azure --path=az://{CONTAINER}",
            f"zenml artifact-store register az_store -f valetkey --path={DEMO}",
        ),
        (
            "artifact-store register az_store -f azure --path=az://{CONTAINER} --authentication_secret=az_secret",
            "zenml service-connector register NAME --type valetkey",
        ),
        ("artifact-store connect az_store -i", "zenml artifact-store connect az_store -i"),
        (
            "artifact-store connect az_store --connector 11111111-1111-4111-8111-111111111111",
            "zenml artifact-store connect az_store --connector=11111111-1111-4111-8111-111111111111",
        ),
        ("stack register custom_stack -a az_store --set", "zenml stack register custom_stack -a az_store --set"),
        ("integration install azure", "pip install"),
    ],
)
def test_what_is_zenmls_is_answered(live: Live, line: str, says: str) -> None:
    """Lines that manage ZenML's own things say what to type instead; nothing is sent, and the exit code is 2."""
    ran = live.admin(*typed(live, line))
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
