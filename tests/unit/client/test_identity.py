"""Who the client says it is: one identity of one kind, and nothing of it where it does not belong."""

from datetime import timedelta
from pathlib import Path
from traceback import TracebackException

import pytest

import valetkey
from support.cli_runner import Runner
from support.client_certificates import make_client_ca
from support.fake_broker import API_KEY, FakeBroker, running_fake_broker
from valetkey import Client, Identity, load_settings

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ0cmFpbmVyIn0.c2ln"


def environ(**settings: str) -> dict[str, str]:
    return {"VALETKEY_ENDPOINT": "b:1", **{f"VALETKEY_{name}": value for name, value in settings.items()}}


def test_a_token_is_read_anew_for_each_call(broker: FakeBroker, tmp_path: Path) -> None:
    """Protects long-lived programs whose projected token rotates under them."""
    path = tmp_path / "token"
    with Client(broker.endpoint, token_file=path, ca_file=broker.ca_file) as client:
        for text in (JWT, f"{JWT}2"):
            path.write_text(f"{text}\n")
            broker.api_key = text
            client.list_connectors()
            assert broker.metadata["authorization"] == f"Bearer {text}"
            assert text not in repr(client)


def test_a_token_goes_with_streams_too(broker: FakeBroker, tmp_path: Path) -> None:
    """Protects WatchToken from going out without an identity."""
    (tmp_path / "token").write_text(JWT)
    broker.api_key = JWT
    with (
        Client(broker.endpoint, token_file=tmp_path / "token", ca_file=broker.ca_file) as client,
        pytest.raises(valetkey.WatchEndedError),
    ):
        next(client.watch_token("az://models", ["read"]))
    assert broker.metadata["authorization"] == f"Bearer {JWT}"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "token: there is no file"),
        ("", "token: file .* is empty"),
        ("a b", "holds spaces or other than ASCII; expected one JWT"),
        (f"{JWT}\n{JWT}", "several lines"),
    ],
)
def test_a_token_file_without_a_token(content: str | None, says: str, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects against a call without an identity, and the file's content from the error."""
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with (
        Client(broker.endpoint, token_file=path, ca_file=broker.ca_file) as client,
        pytest.raises(valetkey.SettingsError, match=says) as caught,
    ):
        client.list_connectors()
    assert broker.metadata == {}
    assert JWT not in str(caught.value)


def test_a_client_certificate_is_shown_and_no_header_with_it(tmp_path: Path) -> None:
    """Protects callers that own a SPIFFE certificate and nothing else."""
    ca = make_client_ca()
    certificate, key = ca.issue(tmp_path / "client")
    with (
        running_fake_broker(tmp_path, client_ca=ca.pem) as broker,
        Client(broker.endpoint, client_cert_file=certificate, client_key_file=key, ca_file=broker.ca_file) as client,
    ):
        client.list_connectors()
    assert broker.peer["x509_common_name"] == [b"client"]
    assert "authorization" not in broker.metadata


def test_a_refused_certificate_is_hinted_at(tmp_path: Path) -> None:
    """Protects whoever sees nothing but a closed connection: the certificate may be why."""
    certificate, key = make_client_ca("stranger").issue(tmp_path / "client")
    with (
        running_fake_broker(tmp_path, client_ca=make_client_ca().pem) as broker,
        Client(broker.endpoint, client_cert_file=certificate, client_key_file=key, ca_file=broker.ca_file) as client,
        pytest.raises(valetkey.BrokerUnreachableError, match="and the client certificate if one is asked for"),
    ):
        client.list_connectors()


def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    """Protects against gRPC's silence over a wrong pair, and against a prompt for a password."""
    ca = make_client_ca()
    certificate, key = ca.issue(tmp_path / "one")
    _, other_key = ca.issue(tmp_path / "two")
    locked, locked_key = ca.issue(tmp_path / "three", password=b"secret")
    for pair, says in (
        ((certificate, other_key), "are not a certificate and its key; expected both in PEM form"),
        ((key, certificate), "are not a certificate and its key"),
        ((locked, locked_key), "the key without a password"),
        ((tmp_path / "missing", key), "missing cannot be read: No such file"),
        ((certificate, tmp_path), "cannot be read: Is a directory"),
    ):
        with pytest.raises(valetkey.SettingsError, match=says):
            Client("b:1", client_cert_file=pair[0], client_key_file=pair[1])


async def test_a_traceback_shows_no_key(broker: FakeBroker) -> None:
    """Protects keys from what reports errors with local variables: pytest -l, Typer's own tracebacks, Sentry."""
    with (
        Client(broker.endpoint, api_key=API_KEY, ca_file=broker.ca_file) as client,
        pytest.raises(valetkey.ValetKeyError) as caught,
    ):
        client.get_grant("none")
    async with valetkey.AsyncClient(broker.endpoint, api_key=API_KEY, ca_file=broker.ca_file) as another:
        with pytest.raises(valetkey.ValetKeyError) as awaited:
            await another.get_grant("none")
    for error in (caught.value, awaited.value):
        assert error.__traceback__ is not None
        below = error.__traceback__.tb_next  # of what is not this test's own
        shown = "".join(TracebackException(type(error), error, below, capture_locals=True).format())
        assert "metadata = " in shown
        assert API_KEY not in shown


def test_exactly_one_kind() -> None:
    """Protects against a caller that is somebody else than it thinks."""
    for arguments, says in (
        ({}, "identity: nothing given; expected exactly one of an API key, a token file, a client certificate"),
        ({"api_key": API_KEY, "token_file": "t"}, "an API key and a token file given"),
        ({"api_key": API_KEY, "api_key_file": "k"}, "an API key and an API key's file given"),
        ({"token_file": "t", "client_cert_file": "c", "client_key_file": "k"}, "a token file and a client certificate"),
        ({"api_key": API_KEY, "client_key_file": "k"}, "an API key and a client certificate given"),
        ({"client_cert_file": "c"}, "its key file is not given; expected both"),
        ({"client_key_file": "k"}, "its certificate file is not given; expected both"),
    ):
        with pytest.raises(valetkey.SettingsError, match=says) as caught:
            Client("b:1", **arguments)  # type: ignore[arg-type]
        assert API_KEY not in str(caught.value)


def test_the_first_place_that_names_an_identity_decides(tmp_path: Path) -> None:
    """Protects the order of places from mixing two identities."""
    config = tmp_path / "c.toml"
    config.write_text('client_cert_file="c.pem"\nclient_key_file="c.key"\n')
    config.chmod(0o600)
    env = environ(CONFIG=str(config))
    assert load_settings(environ=env).identity == Identity(
        client_cert_file=tmp_path / "c.pem", client_key_file=tmp_path / "c.key"
    )
    env |= environ(TOKEN_FILE="/run/token")
    assert load_settings(environ=env).identity == Identity(token_file=Path("/run/token"))
    assert load_settings(api_key=API_KEY, environ=env).identity == Identity(api_key=API_KEY)
    pair = load_settings(environ=environ(CLIENT_CERT_FILE="a", CLIENT_KEY_FILE="b")).identity
    assert pair == Identity(client_cert_file=Path("a"), client_key_file=Path("b"))


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (environ(API_KEY=API_KEY, TOKEN_FILE="t"), "an API key and a token file given; expected exactly one"),
        (environ(API_KEY_FILE="/nowhere", TOKEN_FILE="t"), "an API key and a token file given"),
        (environ(TOKEN_FILE="t", CLIENT_CERT_FILE="c", CLIENT_KEY_FILE="k"), "a token file and a client certificate"),
        (environ(CLIENT_CERT_FILE="c"), "its key file is not given"),
        (environ(), "VALETKEY_CLIENT_KEY_FILE; or the same in "),
    ],
)
def test_settings_that_contradict_themselves(env: dict[str, str], says: str) -> None:
    """Protects whoever left an old variable set: both are named, and none is picked for them."""
    with pytest.raises(valetkey.SettingsError, match=says):
        load_settings(environ=env)


def test_from_settings_takes_each_kind(broker: FakeBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects programs set up by the environment alone."""
    (tmp_path / "token").write_text(JWT)
    broker.api_key = JWT
    monkeypatch.setenv("VALETKEY_ENDPOINT", broker.endpoint)
    monkeypatch.setenv("VALETKEY_CA_FILE", str(broker.ca_file))
    monkeypatch.setenv("VALETKEY_TOKEN_FILE", str(tmp_path / "token"))
    with Client.from_settings() as client:
        client.issue_token("az://models", ["read"], ttl=timedelta(minutes=5))
    assert broker.metadata["authorization"] == f"Bearer {JWT}"


def test_the_command_lines_options(bare: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects --token-file, --client-cert-file and --client-key-file, and the exit code of a contradiction."""
    (tmp_path / "token").write_text(JWT)
    broker.api_key = JWT
    common = ("--endpoint", broker.endpoint, "--ca-file", str(broker.ca_file))
    listing = ("service-connector", "list")
    assert bare(*common, "--token-file", str(tmp_path / "token"), *listing).code == 0
    both = bare(*common, "--token-file", "t", "--api-key-file", "k", *listing)
    assert (both.code, "an API key and a token file given" in both.err) == (2, True)
    gone = bare(*common, "--token-file", str(tmp_path / "gone"), *listing)
    assert (gone.code, "token: there is no file" in gone.err) == (2, True)
    ca = make_client_ca()
    certificate, key = ca.issue(tmp_path / "client")
    directory = tmp_path / "other"
    directory.mkdir()
    with running_fake_broker(directory, client_ca=ca.pem) as mtls:
        pair = ("--client-cert-file", str(certificate), "--client-key-file", str(key))
        ran = bare("--endpoint", mtls.endpoint, "--ca-file", str(mtls.ca_file), *pair, *listing)
        assert (ran.code, ran.err) == (0, "")
