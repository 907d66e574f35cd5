"""What `service-connector register` refuses, and that nothing is kept of it; where it takes the secret from."""

from pathlib import Path

import pytest

from support.cli_runner import Ran
from support.e2e import DEMO, Live, unique

pytestmark = [pytest.mark.xdist_group("e2e-live"), pytest.mark.unmeasured]


def live_secrets(live: Live, name: str) -> list[int]:
    """Returns the versions of the credential of `name` that Vault still holds."""
    bao = live.stack.openbao.admin()
    try:
        answer = bao.adapter.get(f"/v1/valetkey/metadata/credentials/{name}", raise_exception=False)
        status = getattr(answer, "status_code", 200)
        if status == 404:
            return []
        versions = answer["data"]["versions"]
        return [int(number) for number, version in versions.items() if not version["destroyed"]]
    finally:
        bao.adapter.close()


def register(live: Live, name: str, secret: str | Path, *more: str, stdin: str = "", **variables: str) -> Ran:
    return live.admin(
        *("service-connector", "register", name, *live.principal(), "--client-secret", str(secret)),
        *("--resource-id", DEMO, *more),
        stdin=stdin,
        **variables,
    )


def test_wrong_secret_stores_nothing(live: Live, tmp_path: Path) -> None:
    """Entra's own code reaches the user, and neither a connector nor a secret is left behind."""
    name = unique("wrong")
    file = tmp_path / "secret.txt"
    file.write_text("planted~wrong.secret_1")
    ran = register(live, name, f"@{file}")
    assert (ran.code, ran.out) == (1, "")
    assert "AADSTS7000215 invalid client secret" in ran.err
    assert live.stack.client_id in ran.err
    assert "reason CLOUD_CREDENTIAL_REJECTED" in ran.err
    assert "planted~wrong.secret_1" not in ran.err
    assert name not in live.admin.names()
    assert live_secrets(live, name) == []


def test_right_secret_is_kept_in_vault(live: Live) -> None:
    """The counterpart that makes the test above mean something: here Vault does hold a version."""
    name = live.new_connector()
    assert live_secrets(live, name) == [1]
    live.delete(name)
    assert live_secrets(live, name) == []


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--tenant-id", "99999999-9999-9999-9999-999999999999", "AADSTS90002"),
        ("--client-id", "99999999-9999-9999-9999-999999999999", "AADSTS700016"),
    ],
)
def test_wrong_tenant_or_client(live: Live, option: str, value: str, code: str) -> None:
    """A mix-up of ids is told by Entra's code; nothing is stored."""
    name = unique("wrong")
    ran = live.register(name, option, value)  # Of an option given twice the last one counts.
    assert ran.code == 1
    assert code in ran.err
    assert name not in live.admin.names()


def test_resource_it_does_not_reach(live: Live) -> None:
    """A container that is not there is named, with those that are; nothing is stored."""
    name = unique("astray")
    ran = live.register(name, "--resource-id", "az://not-there")
    assert ran.code == 4
    assert "does not reach az://not-there" in ran.err
    assert DEMO in ran.err
    assert name not in live.admin.names()
    assert live_secrets(live, name) == []


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_secret_from_a_file(live: Live, tmp_path: Path, ending: str) -> None:
    """A line break that an editor put at the end is left out, and the user is told; without one, silence."""
    file = tmp_path / "secret.txt"
    file.write_bytes((live.stack.client_secret.reveal() + ending).encode())
    name = unique("file")
    ran = register(live, name, f"@{file}")
    assert ran.code == 0, ran
    expected = f"Note: client secret: the line break at the end of {file} was left out\n" if ending else ""
    assert ran.err == expected
    live.delete(name)


def test_secret_from_standard_input_and_the_environment(live: Live) -> None:
    """`-` reads standard input; without the option the environment serves. Neither warns."""
    secret = live.stack.client_secret.reveal()
    name = unique("stdin")
    ran = register(live, name, "-", stdin=secret)
    assert (ran.code, ran.err) == (0, "")
    live.delete(name)
    ran = live.register(name)
    assert (ran.code, ran.err) == (0, "")
    live.delete(name)


def test_literal_secret_works_and_warns(live: Live) -> None:
    """A secret on the command line does its work, and the user hears who else can see it."""
    name = unique("literal")
    ran = register(live, name, live.stack.client_secret.reveal())
    assert ran.code == 0
    assert "Warning: --client-secret on the command line: other users of this machine can see it" in ran.err
    assert live.stack.client_secret.reveal() not in ran.err
    live.delete(name)


def test_secret_file_that_cannot_be_one(live: Live, tmp_path: Path) -> None:
    """A missing file, a directory, an empty file: named with what was expected, before anything is sent."""
    before = live.stack.control_plane.requests["token"]
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for path, problem in (
        (tmp_path / "missing", f"there is no file {tmp_path / 'missing'}"),
        (tmp_path, f"{tmp_path} is a directory"),
        (empty, f"file {empty} is empty"),
    ):
        ran = register(live, "never", f"@{path}")
        assert (ran.code, ran.out) == (2, "")
        assert problem in ran.err
        assert "expected" in ran.err
    nothing = live.admin("service-connector", "register", "never", *live.principal())
    assert nothing.code == 2
    assert "no client secret; expected --client-secret @FILE" in nothing.err
    assert live.stack.control_plane.requests["token"] == before
    assert "never" not in live.admin.names()


def test_name_that_is_taken(live: Live) -> None:
    """The second registration of a name is refused, and the first one's connector stays what it was."""
    name = live.new_connector("--resource-id", DEMO)
    before = live.admin.done("service-connector", "describe", name, "-o", "json").json
    ran = live.register(name)
    assert (ran.code, ran.out) == (1, "")
    assert f"a connector named {name} exists already" in ran.err
    assert "reason CONNECTOR_EXISTS" in ran.err
    assert live.admin.done("service-connector", "describe", name, "-o", "json").json == before
    live.delete(name)


def test_same_name_from_two_terminals_at_once(live: Live) -> None:
    """Exactly one wins; the other is told and leaves nothing of its secret; the winner's connector works."""
    name = unique("race")
    secret = live.add_secret()
    live.stack.control_plane.slow("token", 2.0, times=2)  # Both are past the first look before either writes.
    arguments = ("service-connector", "register", name, *live.principal())
    terminals = [
        live.cli(VALETKEY_CLIENT_SECRET=each.reveal()).start(*arguments) for each in (live.stack.client_secret, secret)
    ]
    said = [terminal.communicate(timeout=60) for terminal in terminals]
    live.stack.control_plane.heal()
    assert sorted(terminal.returncode for terminal in terminals) == [0, 1], said
    (loser,) = [err for terminal, (_, err) in zip(terminals, said, strict=True) if terminal.returncode]
    assert f"a connector named {name} exists already" in loser
    assert "reason CONNECTOR_EXISTS" in loser
    assert len(live_secrets(live, name)) == 1
    live.allow(name)
    assert live.issue("--connector", name).code == 0
    live.delete(name)


@pytest.mark.parametrize(
    ("more", "option"),
    [
        (("--resource-id", "https://evil.example/demo"), "--resource-id"),
        (("--resource-id", f"{DEMO}/models"), "--resource-id"),
        (("--storage-account", "evil.example.com"), "--storage-account"),
        (("--storage-account", "Upper"), "--storage-account"),
        (("--cloud", "no-such-cloud"), "--cloud"),
        (("--tenant-id", "../common"), "--tenant-id"),
    ],
)
def test_bad_fields(live: Live, more: tuple[str, ...], option: str) -> None:
    """What could lead the broker, with the secret, to another host is refused before anything is asked."""
    before = live.stack.control_plane.requests["token"]
    ran = live.register("never", *more)
    assert (ran.code, ran.out) == (1, "")
    assert f"{option}: " in ran.err
    assert "expected" in ran.err
    assert "reason INVALID_FIELD" in ran.err
    assert live.stack.control_plane.requests["token"] == before


@pytest.mark.parametrize("name", ["Upper", "a/b", "..", "-x", "x" * 64, "new\nline"])
def test_bad_names(live: Live, name: str) -> None:
    """Names become paths in Vault; what is none of 1 to 63 lower-case letters, digits, hyphens goes nowhere."""
    ran = live.admin(
        *("service-connector", "register", *live.principal(), "--client-secret", "-", "--", name), stdin="secret"
    )
    assert (ran.code, ran.out) == (1, "")
    assert "NAME: " in ran.err
    assert "reason INVALID_FIELD" in ran.err


def test_values_of_a_file_and_of_the_environment(live: Live, tmp_path: Path) -> None:
    """Both ways reach Vault as options do, and neither shows the secret, or warns."""
    secret = live.stack.client_secret.reveal()
    principal = {"tenant_id": live.stack.tenant_id, "client_id": live.stack.client_id, "client_secret": secret}
    file = tmp_path / "values.yaml"
    file.write_text("".join(f"{name}: '{value}'\n" for name, value in principal.items()))
    ways: list[tuple[list[str], dict[str, str]]] = [
        (["--values", f"@{file}"], {}),
        (["--auto-configure"], {f"AZURE_{name.upper()}": value for name, value in principal.items()}),
    ]
    for options, variables in ways:
        name = unique("values")
        ran = live.admin("service-connector", "register", name, *options, "-ri", DEMO, **variables)
        assert (ran.code, secret in ran.out + ran.err, "Warning" in ran.err) == (0, False, False), ran
        assert live_secrets(live, name) == [1]
        live.delete(name)


def test_types_as_the_broker_says_them(live: Live) -> None:
    """What people are told of auth methods is what the running broker has."""
    (azure,) = live.admin("service-connector", "list-types", "-o", "json").json
    described = live.admin("service-connector", "describe-type", "azure", "-o", "json").json
    assert described["auth_methods"] == azure["auth_methods"]
    assert "service-principal" in [method["auth_method"] for method in azure["auth_methods"]]
