"""`valetkey secret` against a fake broker: values go in as they should, and never come out."""

from pathlib import Path

import pytest

from support.cli_runner import Runner
from support.fake_broker import FakeBroker
from support.fake_secrets import named_secret

KEY = "PLANTED-account-key=="


@pytest.mark.parametrize(
    ("options", "method", "fields"),
    [
        (["--account_name=contosoml", f"--account_key={KEY}"], 2, {"account_key": KEY}),
        ([f"--connection_string={KEY}"], 3, {"connection_string": KEY}),
        (
            ["--account_name=contosoml", "--tenant_id=t-1", "--client_id=c-1", f"--client_secret={KEY}"],
            1,
            {"client_secret": KEY},
        ),
        ([f"--values={{account_name: contosoml, account_key: '{KEY}'}}"], 2, {"account_key": KEY}),
    ],
    ids=["account-key", "connection-string", "service-principal", "values"],
)
def test_the_lines_of_zenml(
    valetkey: Runner, broker: FakeBroker, options: list[str], method: int, fields: dict[str, str]
) -> None:
    """Each kind is recognised by what is given; a literal works, with a warning, and is not shown again."""
    ran = valetkey("secret", "create", "az_secret", *options)
    assert ran.code == 0
    assert ran.out.startswith("Secret `az_secret` stored")
    assert "other users of this machine can see it" in ran.err
    assert KEY not in ran.out + ran.err
    (request,) = broker.requests
    assert (request.name, request.auth_method) == ("az_secret", method)
    assert {field.name: value for field, value in request.azure_secret.ListFields()} == fields
    if method != 3:
        assert request.azure.storage_account == "contosoml"


def test_values_of_a_file(valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """`--values=@FILE` keeps the secret out of the process list: nothing to warn of."""
    file = tmp_path / "az.yaml"
    file.write_text(f"account_name: contosoml\naccount_key: {KEY}\n")
    ran = valetkey("secret", "create", "az_secret", f"--values=@{file}", "--verify", "-o", "json")
    assert ran.code == 0
    assert "process list" not in ran.err
    (request,) = broker.requests
    assert request.azure_secret.account_key == KEY
    assert request.verify
    assert '"secret_fields": [\n    "account_key"\n  ]' in ran.out


def test_list_and_describe_tell_all_but_the_value(valetkey: Runner, broker: FakeBroker) -> None:
    """Kinds, versions and who uses it."""
    many = [f"connector-{n}" for n in range(5)]
    broker.secrets["az_secret"] = named_secret("az_secret", connectors=many, credential_version=3)
    broker.secrets["unused"] = named_secret("unused")
    listed = valetkey("secret", "list")
    assert listed.code == 0
    assert "az_secret │ account-key │ contosoml │ 3" in listed.out
    assert "connector-0, connector-1, connector-2 and 2 more" in listed.out
    described = valetkey("secret", "describe", "az_secret")
    assert ", ".join(many) in described.out
    assert "account_key" in described.out
    assert "no connector" in valetkey("secret", "describe", "unused").out


def test_update_gives_another_value_and_says_what_was_verified(
    valetkey: Runner, broker: FakeBroker, tmp_path: Path
) -> None:
    """Only what is given goes to the broker; the auth method stays unless another is meant."""
    broker.secrets["az_secret"] = named_secret("az_secret", connectors=["azure-blob-demo"])
    key = tmp_path / "key"
    key.write_text(KEY)
    ran = valetkey("secret", "update", "az_secret", f"--account-key=@{key}", "-r", "account-name")
    assert ran.code == 0
    assert ran.out == "Secret `az_secret` updated, version 2.\nVerified with it: azure-blob-demo.\n"
    request = broker.requests[-1]
    assert (request.auth_method, list(request.remove_fields)) == (0, ["storage_account"])
    assert (request.azure_secret.account_key, request.azure.storage_account) == (KEY, "")
    ran = valetkey("secret", "update", "az_secret", "--account-name=other", "--no-verify")
    assert "not verified: azure-blob-demo" in ran.err
    request = broker.requests[-1]
    assert not request.azure_secret.ListFields()
    assert request.no_verify


def test_update_with_nothing_asks_for_the_value(
    valetkey: Runner, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or takes it from the environment, as at creation."""
    broker.secrets["az_secret"] = named_secret("az_secret")
    monkeypatch.setenv("VALETKEY_ACCOUNT_KEY", KEY)
    assert valetkey("secret", "update", "az_secret").code == 0
    assert broker.requests[-1].azure_secret.account_key == KEY


def test_update_does_not_take_a_secret_away(valetkey: Runner, broker: FakeBroker) -> None:
    """A secret without its value is none."""
    broker.secrets["az_secret"] = named_secret("az_secret")
    ran = valetkey("secret", "update", "az_secret", "-r", "account_key")
    assert ran.code == 2
    assert "give another value instead" in ran.err


def test_rename_and_delete(valetkey: Runner, broker: FakeBroker) -> None:
    """Deleting asks; renaming does not."""
    broker.secrets["az_secret"] = named_secret("az_secret")
    assert valetkey("secret", "rename", "az_secret", "az_new").out == "Secret `az_secret` is called `az_new` now.\n"
    assert valetkey("secret", "delete", "az_new").code == 2
    assert valetkey("secret", "delete", "az_new", "--yes").out == "Deleted secret `az_new`.\n"
    assert valetkey("secret", "describe", "az_new").code == 4


@pytest.mark.parametrize("option", ["--authentication-secret", "--authentication_secret"])
def test_register_with_a_named_secret(valetkey: Runner, broker: FakeBroker, option: str) -> None:
    """Nothing else of the credential is asked for, whatever the environment holds."""
    ran = valetkey("service-connector", "register", "azure-blob-demo", option, "az_secret", "--resource-id=az://demo")
    assert ran.code == 0
    (request,) = broker.requests
    assert (request.authentication_secret, request.auth_method) == ("az_secret", 0)
    assert not request.azure_secret.ListFields()
    assert "az_secret" in valetkey("service-connector", "describe", "azure-blob-demo").out


def test_register_with_two_secrets_is_refused(valetkey: Runner, broker: FakeBroker) -> None:
    """Which of them is meant nobody could tell."""
    ran = valetkey("service-connector", "register", "x", "--authentication-secret=az_secret", f"--account-key={KEY}")
    assert ran.code == 2
    assert "--authentication-secret and --account-key" in ran.err
    assert not broker.requests


def test_a_secret_is_rotated_by_a_schedule(valetkey: Runner, broker: FakeBroker) -> None:
    """`--rotate-every` goes to the broker with what it is of, and `describe` shows it."""
    ran = valetkey("secret", "rotate", "az_secret", "--rotate-every", "30d", "--rotate-by", "azure-blob-demo")
    assert ran.code == 0
    assert "az_secret is rotated every 30d from now on" in ran.err
    (request,) = broker.requests
    assert (request.holder, request.schedule.every.seconds, request.schedule.by) == (2, 30 * 86_400, "azure-blob-demo")
    broker.secrets["az_secret"] = named_secret("az_secret", rotation_schedule=request.schedule)
    assert "30d, by azure-blob-demo" in valetkey("secret", "describe", "az_secret").out
    said = valetkey("secret", "describe", "az_secret", "-o", "json").out
    assert '"rotation_schedule": {\n    "every": 2592000,\n    "by": "azure-blob-demo"\n  }' in said
