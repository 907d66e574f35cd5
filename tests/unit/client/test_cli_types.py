"""`service-connector list-types` and `describe-type`, fed by what the real broker says of its auth methods."""

import pytest

from support.cli_runner import Runner
from valetkey.cli.auth_methods import FIELDS, METHODS, SECRET_FIELDS
from valetkey_broker.adapters.azure import AUTH_METHODS

PLACES = {"storage_account", "subscription_id", "resource_group", "cloud"}


def test_list_types(valetkey: Runner) -> None:
    """Protects ZenML's first command of a newcomer: which types, auth methods and resource types there are."""
    shown = valetkey("service-connector", "list_types").out
    for part in ("NAME", "TYPE", "RESOURCE TYPES", "AUTH METHODS", "azure", "blob-container", *AUTH_METHODS):
        assert part in shown
    (azure,) = valetkey("service-connector", "list-types", "-o", "json").json
    assert [method["auth_method"] for method in azure["auth_methods"]] == list(AUTH_METHODS)


def test_describe_type(valetkey: Runner) -> None:
    """Protects the description: every field as the option that gives it, what it is, and whether it is secret."""
    shown = valetkey("service-connector", "describe-type", "azure").out
    assert "Service principal (auth method service-principal)" in shown
    assert "--client-secret" in shown
    assert "secret, " in shown
    assert "az://CONTAINER" in shown


def test_describe_one_part_of_a_type(valetkey: Runner) -> None:
    """Protects --auth-method and --resource-type, which each show that part alone, and ZenML's short forms."""
    describe = ("service-connector", "describe-type", "azure", "-o", "json")
    method = valetkey(*describe, "--auth-method", "service-principal").json
    assert ([each["auth_method"] for each in method["auth_methods"]], method["resource_types"]) == (
        ["service-principal"],
        [],
    )
    resource = valetkey(*describe, "-r", "blob-container").json
    assert (resource["auth_methods"], [each["title"] for each in resource["resource_types"]]) == (
        [],
        ["Blob container"],
    )
    both = valetkey(*describe, "-a", "service-principal", "-r", "blob-container").json
    assert (len(both["auth_methods"]), len(both["resource_types"])) == (1, 1)


@pytest.mark.parametrize("name", AUTH_METHODS)
def test_the_command_line_knows_what_the_broker_takes(name: str) -> None:
    """Protects the client's own table from saying something else than the broker's registry."""
    taken = next(taken for method, taken in METHODS.items() if method.value == name)
    fields = {field.name: field for field in AUTH_METHODS[name].fields}
    assert set(taken.fields) == set(fields) - PLACES
    assert set(fields) <= set(FIELDS)
    assert {field for field in fields if fields[field].secret} == set(fields).intersection(SECRET_FIELDS)
    assert AUTH_METHODS[name].title
    for field in fields.values():
        assert field.help.endswith("."), field.name
        assert field.example, field.name


@pytest.mark.parametrize("columns", [80, 90, 100, 110, 130])
def test_a_description_is_never_cut_off(columns: int, valetkey: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects examples and borders: at no width of the terminal a table is wider than it, or loses a word."""
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = valetkey("service-connector", "describe-type", "azure", "-a", "service-principal").out
    for example in ("11111111-1111-4111-8111-111111111111", "33333333-3333-4333-8333-333333333333", "@password.txt"):
        assert example in shown
    assert all(line.endswith(("┃", "┨", "┓", "┛")) for line in shown.splitlines() if line[:1] in "┃┠┏┗" and line)
