"""Credentials in JSON and YAML: what is understood, what is refused, and that no value is ever shown."""

from pathlib import Path

import pytest

from support.cli_runner import Runner
from support.fake_broker import FakeBroker
from valetkey.cli.auth_methods import AuthMethod, choose
from valetkey.cli.credential_parsing import MAX_BYTES, parse_values
from valetkey.errors import InvalidArgumentError

SECRET = "PLANTED~secret"
REGISTER = ("service-connector", "register", "demo")
PRINCIPAL = {"tenant_id": "t-1", "client_id": "c-1", "client_secret": SECRET}


@pytest.mark.parametrize(
    ("text", "fields", "method"),
    [
        (
            '{"account_name": "a", "account_key": "k"}',
            {"storage_account": "a", "account_key": "k"},
            AuthMethod.ACCOUNT_KEY,
        ),
        ("connection_string: A=b;C=d==", {"connection_string": "A=b;C=d=="}, AuthMethod.CONNECTION_STRING),
        (
            "tenant_id: t-1\nclient_id: c-1\nclient_secret: 'PLANTED~secret'\n",
            PRINCIPAL,
            AuthMethod.SERVICE_PRINCIPAL,
        ),
        ("{tenant-id: t-1, Client-Id: c-1, client_secret: PLANTED~secret}", PRINCIPAL, AuthMethod.SERVICE_PRINCIPAL),
        ("implicit_source: environment", {"implicit_source": "environment"}, AuthMethod.IMPLICIT),
        ("\ufeffaccount_key: 0123", {"account_key": "0123"}, AuthMethod.ACCOUNT_KEY),
        ("account_key: no", {"account_key": "no"}, AuthMethod.ACCOUNT_KEY),
        ('{\t"account_key":\t"k\\u002b"}', {"account_key": "k+"}, AuthMethod.ACCOUNT_KEY),
    ],
)
def test_values_and_their_kind(text: str, fields: dict[str, str], method: AuthMethod) -> None:
    """Protects both notations, ZenML's names, and texts that YAML would take for numbers and truth values."""
    found = parse_values(text.encode(), "the text given")
    assert found == fields
    assert choose(None, found) is method


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty; expected names and values"),
        (b" \n", "is empty"),
        (b"{}", "is empty"),
        (b"# only a comment", "holds no names"),
        (b"[PLANTED~secret]", "is a list; expected names and values"),
        (b"- account_key: PLANTED~secret", "is a list"),
        (b"secret.json", "holds no names; expected names and values"),
        (b'{"account_key": "PLANTED~secret", "account_key": "PLANTED~secret"}', "gives account_key more than once"),
        (b"account_key: PLANTED~secret\naccount-key: PLANTED~secret", "gives account_key more than once"),
        (b"account_name: a\nstorage_account: b", "gives storage_account more than once"),
        (b"acount_key: PLANTED~secret", "acount_key is not known; did you mean account_key?"),
        (b"PLANTED~secret: x", "holds a name that is not known; expected names of tenant_id, client_id"),
        (b"sas_token: PLANTED~secret", "sas_token is not taken: the broker hands SAS tokens out"),
        (b'{"account_key": 5}', "account_key is a number; expected a text, in quotes"),
        (b'{"account_key": true}', "is a truth value"),
        (b'{"account_key": null}', "is null"),
        (b'{"account_key": ["PLANTED~secret"]}', "is a list"),
        (b"account_key:\n  inner: PLANTED~secret", "is a set of names"),
        (b"account_key:\n", "has no value; expected a text, or leave it out"),
        (b"[a, b]: PLANTED~secret", "holds a list as a name"),
        (b"account_key: 'PLANTED~secret", "is neither JSON nor YAML in line"),
        (b"a: 1\n---\nb: PLANTED~secret", "is neither JSON nor YAML in line 2"),
        (b"account_key: \x01", "is neither JSON nor YAML"),
        (b"\xff\xfe", "is not text"),
        pytest.param(b"[" * 10_000, "is neither JSON nor YAML", marks=pytest.mark.no_cover),
        (b'{"account_key":' + b"[" * 100_000, "is nested too deeply"),
        (b"account_key: " + b"x" * MAX_BYTES, "holds over 1048576 bytes"),
    ],
)
def test_what_is_no_set_of_values(data: bytes, says: str) -> None:
    """Protects against registering rubbish; the message names the place, and shows no value."""
    with pytest.raises(InvalidArgumentError) as caught:
        parse_values(data, "file v.yaml")
    assert caught.value.message.startswith("--values: file v.yaml")
    assert says in caught.value.message
    assert "planted" not in caught.value.message.lower()


@pytest.mark.parametrize("name", ["values.json", "values.yaml"])
def test_register_from_a_file(name: str, valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects `--values @FILE`: nothing of it is on the command line, and nothing warns."""
    import json

    path = tmp_path / name
    text = json.dumps(PRINCIPAL) if name.endswith("json") else "".join(f"{k}: {v}\n" for k, v in PRINCIPAL.items())
    path.write_text(text)
    ran = valetkey(*REGISTER, "--values", f"@{path}", "--storage-account", "contosoml")
    assert (ran.code, ran.err) == (0, "")
    (request,) = broker.requests
    assert (request.azure.tenant_id, request.azure.client_id) == ("t-1", "c-1")
    assert (request.azure.storage_account, request.azure_secret.client_secret) == ("contosoml", SECRET)


def test_register_from_text_and_standard_input(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects inline values, with the warning that others can see them, and values of a pipe."""
    text = "{tenant_id: t-1, client_id: c-1, client_secret: PLANTED~secret}"
    ran = valetkey(*REGISTER, "--values", text)
    assert ran.code == 0, ran.err
    assert ran.err.startswith("Warning: --values on the command line holds client_secret: other users")
    assert SECRET not in ran.out + ran.err
    ran = valetkey(*REGISTER, "--values=-", stdin=text.encode())
    assert (ran.code, ran.err) == (0, "")
    assert [request.azure_secret.client_secret for request in broker.requests] == [SECRET, SECRET]


def test_a_certificate_stands_in_a_file_as_it_is(valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects the one value of several lines."""
    pem = "-----BEGIN PRIVATE KEY-----\nPLANTED\n-----END PRIVATE KEY-----"
    path = tmp_path / "values.yaml"
    lines = "".join(f"  {line}\n" for line in pem.splitlines())
    path.write_text(f"tenant_id: t-1\nclient_id: c-1\nclient_certificate: |\n{lines}")
    assert valetkey(*REGISTER, "--values", f"@{path}").code == 0
    assert broker.requests[-1].azure_secret.client_certificate == pem


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--values", "@"], "--values: @ names no file; expected @FILE"),
        (["--values", "@/nowhere"], "--values: there is no file /nowhere"),
        (["--values", "@/"], "/ is a directory"),
        (["--values", "@/proc/self/mem"], "--values: /proc/self/mem cannot be read: "),
        (["--values", "-", "--client-secret", "-"], "only one of them can come from standard input"),
        (["--values", "@/dev/zero"], "holds over 1048576 bytes"),
        (["--values", "{tenant_id: a, client_id: b}", "--tenant-id", "c"], "tenant_id is given in --values and by an"),
        (["--values", "{account_key: a, client_secret: b}"], "one connector has one auth method"),
        (["--values", "{account_key: a}", "--auth-method=service-principal"], "--account-key: is not taken by"),
    ],
)
def test_what_register_refuses(arguments: list[str], says: str, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects against files that are none and against two credentials in one; nothing is sent."""
    ran = valetkey(*REGISTER, *arguments)
    assert (ran.code, broker.requests) == (2, [])
    assert says in ran.err
