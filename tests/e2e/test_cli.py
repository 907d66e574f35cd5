"""`valetkey service-connector` on a whole stack: register, list, describe, verify, list-resources, delete."""

import re

import pytest

from support.cli_runner import Ran
from support.e2e import CONNECTOR, DEMO, Live, unique

pytestmark = [pytest.mark.xdist_group("e2e-live"), pytest.mark.unmeasured]

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def row_of(table: str, name: str) -> list[str]:
    """Returns the cells of the row that has `name` in one of them."""
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("┃│ ").split("│")]
        if name in cells:
            return cells
    raise AssertionError(f"no row with {name} in\n{table}")


def test_register_prints_what_it_reached(live: Live, registered: Ran) -> None:
    """The issue's command as written registers the connector and shows resource type and names as a table."""
    assert f"Successfully registered service connector `{CONNECTOR}`" in registered.out
    assert "RESOURCE TYPE" in registered.out
    assert "RESOURCE NAMES" in registered.out
    assert row_of(registered.out, "blob-container") == ["blob-container", DEMO]
    assert live.stack.client_secret.reveal() not in registered.out + registered.err


def test_underscores_do_as_well(live: Live) -> None:
    """Options, values and commands in underscores, which ZenML users' fingers know, are the same."""
    name = unique("under")
    ran = live.admin(
        *("service_connector", "register", name, "--type", "azure", "--auth_method", "service_principal"),
        *("--tenant_id", live.stack.tenant_id, "--client_id", live.stack.client_id),
        *("--client_secret", f"@{live.secret_files.client_secret}"),
        *("--resource_type", "blob_container", "--resource_id", DEMO),
    )
    assert ran.code == 0, ran
    assert DEMO in ran.out
    listed = live.admin.done("service_connector", "list_resources", "--resource_type", "blob_container")
    assert row_of(listed.out, name)[-1] == DEMO
    live.delete(name)


def test_list_and_describe(live: Live, registered: Ran) -> None:
    """Both show what was registered and never the secret."""
    table = live.admin.done("service-connector", "list").out
    cells = row_of(table, CONNECTOR)
    assert re.fullmatch(UUID, cells[1])
    assert cells[2:6] == ["azure", "service-principal", "blob-container", DEMO]
    described = live.admin.done("service-connector", "describe", CONNECTOR).out
    for property_, value in (
        ("tenant id", live.stack.tenant_id),
        ("client id", live.stack.client_id),
        ("cloud", "dev"),
        ("credential version", "1"),
        ("created by", "key:admin"),
    ):
        assert row_of(described, property_) == [property_, value]
    assert live.stack.client_secret.reveal() not in table + described


def test_list_resources_as_a_table(live: Live, registered: Ran) -> None:
    """The issue's command as written prints connector id, name, type, resource type and resource names."""
    table = live.admin.done("service-connector", "list-resources", "--resource-type", "blob-container").out
    header = table.splitlines()[1]
    columns = ["CONNECTOR ID", "CONNECTOR NAME", "CONNECTOR TYPE", "RESOURCE TYPE", "RESOURCE NAMES"]
    assert [cell.strip() for cell in header.strip("┃ ").split("│")] == columns
    cells = row_of(table, CONNECTOR)
    assert re.fullmatch(UUID, cells[0])
    assert cells[1:] == [CONNECTOR, "azure", "blob-container", DEMO]


def test_verify_logs_in_again(live: Live, registered: Ran) -> None:
    """`verify` shows what a stored connector reaches now, and asks Entra for it anew."""
    before = live.stack.control_plane.requests["token"]
    assert row_of(live.admin.done("service-connector", "verify", CONNECTOR).out, "blob-container")[-1] == DEMO
    assert live.stack.control_plane.requests["token"] > before


def test_every_command_speaks_json(live: Live, registered: Ran) -> None:
    """With `-o json` standard output is one JSON document, whichever the command, and says the same as the tables."""
    name, key = unique("json"), unique("json-key")
    secret = ("--client-secret", f"@{live.secret_files.client_secret}")

    def said(*arguments: str) -> object:
        return live.admin.done(*arguments, "-o", "json").json

    created = said("service-connector", "register", name, *live.principal(), *secret)
    assert isinstance(created, dict)
    uid = created["connector"]["id"]
    containers = ["az://demo-logs", DEMO, "az://demo-models"]
    assert sorted(found["resource_id"] for found in created["resources"]) == sorted(containers)
    assert {found["account"] for found in created["resources"]} == {"demologs", "demomlstorage"}
    assert said("service-connector", "describe", name) == created["connector"]
    assert created["connector"] in said("service-connector", "list")  # type: ignore[operator]
    verified = said("service-connector", "verify", name)
    assert isinstance(verified, dict)
    first, *_ = verified.pop("checks")
    assert (first["step"], first["outcome"]) == ("log in", "ok")
    assert verified == {
        "connector": name,
        "resources": created["resources"],
        "account_errors": [],
        "left_out": 0,
    }
    (entry,) = live.admin.done("service-connector", "list-resources", "--connector", name, "-o", "json").json
    assert entry == {
        "connector_id": uid,
        "connector": name,
        "connector_type": "azure",
        "resource_type": "blob-container",
        "resources": created["resources"],
        "error": None,
        "account_errors": [],
        "incomplete": False,
    }
    assert said("service-connector", "delete", name, "--yes") == {"deleted": name}
    made = said("api-key", "create", key, "--role", "viewer", "--ttl", "1h")
    assert isinstance(made, dict)
    assert made.pop("api_key").startswith("vk_")
    assert made in said("api-key", "list")  # type: ignore[operator]
    assert said("api-key", "revoke", key, "--yes") == {"revoked": key}
    token = said("token", "issue", "--resource", DEMO, "--permissions", "read", "--connector", CONNECTOR)
    assert isinstance(token, dict)
    assert token["connector"] == CONNECTOR


def test_delete(live: Live) -> None:
    """A deleted connector is gone for every command, its secret for good, and the name is free again."""
    name = live.new_connector()
    assert live.issue("--connector", name).code == 0
    assert f"`{name}`" in live.admin.done("service-connector", "delete", name, "--yes").out
    assert name not in live.admin.names()
    for arguments in (("describe", name), ("verify", name), ("delete", name, "--yes")):
        ran = live.admin("service-connector", *arguments)
        assert (ran.code, ran.out) == (4, "")
        assert "reason CONNECTOR_NOT_FOUND" in ran.err
    assert live.issue("--connector", name).code == 3  # Nothing is said of what there is not.
    assert live.register(name).code == 0
    live.delete(name)


def test_one_that_fails_shows_its_error_in_its_row(live: Live, registered: Ran) -> None:
    """A connector whose secret has expired does not hide the others; alone it makes the command fail."""
    secret, name = live.add_secret(), unique("connector")
    assert live.register(name, secret=secret.reveal()).code == 0
    live.stack.control_plane.expire_secret(secret)
    live.allow(name)  # Not before: a grant has the broker look what the connector reaches, and log in for an hour.
    try:
        ran = live.admin("service-connector", "list-resources")
        assert ran.code == 0
        assert "AADSTS7000222" in row_of(ran.out, name)[-1]
        assert row_of(ran.out, CONNECTOR)[-1] == DEMO
        alone = live.admin("service-connector", "list-resources", "--connector", name, "-o", "json")
        assert alone.code == 1
        (entry,) = alone.json
        assert entry["error"]["reason"] == "CLOUD_CREDENTIAL_REJECTED"
        assert entry["error"]["metadata"]["azure_code"] == "AADSTS7000222"
    finally:
        live.delete(name)


@pytest.mark.parametrize(
    "arguments", [("describe",), ("verify",), ("delete", "--yes"), ("list-resources", "--connector")]
)
def test_unknown_connector(live: Live, arguments: tuple[str, ...]) -> None:
    """A name that nobody has is told as such: exit 4, the name, the reason, a request id to look it up by."""
    ran = live.admin("service-connector", *arguments, "nobody-has-this")
    assert (ran.code, ran.out) == (4, "")
    assert "no connector is named nobody-has-this" in ran.err
    assert re.search(r"reason CONNECTOR_NOT_FOUND · request id [0-9a-f]{16}", ran.err)


def test_errors_as_json(live: Live) -> None:
    """With `-o json` an error is JSON too: one line on standard error, nothing on standard output."""
    ran = live.admin("service-connector", "describe", "nobody-has-this", "-o", "json")
    assert (ran.code, ran.out) == (4, "")
    error = Ran(0, ran.err, "").json["error"]
    assert error["reason"] == "CONNECTOR_NOT_FOUND"
    assert error["code"] == "NOT_FOUND"
    assert error["metadata"] == {"connector": "nobody-has-this"}
