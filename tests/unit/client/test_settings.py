"""Where the client's settings come from, and what is refused."""

import os
import threading
from pathlib import Path

import pytest

from valetkey import Client, Identity, SettingsError, load_settings
from valetkey.channel import parse_endpoint, read_ca_file
from valetkey.login.store import make_private_folder
from valetkey.settings import login_file_of

KEY = "vk_" + "s" * 43


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_arguments_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    """Protects the documented order, setting by setting."""
    config = write(tmp_path / "c.toml", 'endpoint="file:1"\nca_file="file.pem"\napi_key="vk_file"\n')
    env = {"VALETKEY_CONFIG": str(config), "VALETKEY_ENDPOINT": "env:2", "VALETKEY_API_KEY": "vk_env"}
    settings = load_settings(endpoint="argument:3", environ=env)
    assert (settings.endpoint, settings.identity.api_key) == ("argument:3", "vk_env")
    assert settings.ca_file == tmp_path / "file.pem"  # relative to the config file
    assert load_settings(environ=env).endpoint == "env:2"


def test_the_default_config_file_is_found(tmp_path: Path) -> None:
    """Protects the two default places: XDG_CONFIG_HOME, then ~/.config."""
    text = f'endpoint = "b:1"\napi_key = "{KEY}"\n'
    write(tmp_path / "xdg/valetkey/config.toml", text)
    assert load_settings(environ={"XDG_CONFIG_HOME": str(tmp_path / "xdg")}).endpoint == "b:1"
    write(Path("~/.config/valetkey/config.toml").expanduser(), text.replace("b:1", "home:2"))
    assert load_settings(environ={}).endpoint == "home:2"


def test_who_has_no_home_reads_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the key of such a user, as of an arbitrary one in a container, from a folder that is called ~."""

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "~/.config/valetkey/config.toml", 'endpoint = "not-ours:1"\n')
    write(tmp_path / "conf/valetkey/config.toml", 'endpoint = "not-ours:1"\n')
    for env in ({}, {"XDG_CONFIG_HOME": "conf"}):
        with pytest.raises(SettingsError, match="no endpoint"):
            load_settings(environ={**env, "VALETKEY_API_KEY": KEY})
    write(tmp_path / "~/.local/state/valetkey/log-ins/b:1/login.json", "{}")
    with pytest.raises(SettingsError, match="no identity"):
        load_settings(environ={}, endpoint="b:1")
    with pytest.raises(SettingsError, match="has no home"):
        make_private_folder(login_file_of("b:1", {}).parent)


def test_a_key_may_stand_in_a_file(tmp_path: Path) -> None:
    """Protects VALETKEY_API_KEY_FILE and api_key_file, the line break at the end left out."""
    write(tmp_path / "key", KEY + "\n")
    env = {"VALETKEY_ENDPOINT": "b:1", "VALETKEY_API_KEY_FILE": str(tmp_path / "key")}
    assert load_settings(environ=env).identity == Identity(api_key_file=tmp_path / "key")
    config = write(tmp_path / "c.toml", 'endpoint="b:1"\napi_key_file="key"\n')
    assert load_settings(environ={}, config_file=config).identity == Identity(api_key_file=tmp_path / "key")


def test_a_key_may_come_through_a_pipe(tmp_path: Path) -> None:
    """Protects `--api-key-file <(pass show broker)`, which can be read once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(KEY,))
    writer.start()
    found = load_settings(endpoint="b:1", api_key_file=pipe, environ={}).identity
    writer.join()
    assert found == Identity(api_key=KEY)


def test_settings_do_not_show_the_key(tmp_path: Path) -> None:
    """Protects the key from logs that print settings."""
    settings = load_settings(endpoint="b:1", api_key=KEY, environ={})
    assert KEY not in repr(settings)
    assert KEY not in str(settings)


def test_a_config_file_with_a_key_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    """Protects the key in a file that was written with a careless umask."""
    config = write(tmp_path / "c.toml", f'endpoint="b:1"\napi_key="{KEY}"\n')
    assert load_settings(config_file=config, environ={}).warnings == ()
    config.chmod(0o644)
    (warning,) = load_settings(config_file=config, environ={}).warnings
    assert f"chmod 600 {config}" in warning


def test_the_client_warns_of_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects programs, which have no command line to tell them."""
    config = write(tmp_path / "c.toml", f'endpoint="b:1"\napi_key="{KEY}"\n')
    config.chmod(0o644)
    with pytest.warns(UserWarning, match="chmod 600"):
        Client.from_settings(config_file=config).close()


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({}, r"no endpoint; expected HOST:PORT in --endpoint, in VALETKEY_ENDPOINT or as `endpoint` in "),
        ({"VALETKEY_ENDPOINT": "b:1"}, "no identity; expected one of: an API key in VALETKEY_API_KEY"),
        ({"VALETKEY_ENDPOINT": "b:1", "VALETKEY_API_KEY": ""}, "no identity"),
        ({"VALETKEY_ENDPOINT": "b:1", "VALETKEY_API_KEY": "vk_a\nvk_b"}, "API key: .* several lines"),
        ({"VALETKEY_ENDPOINT": "b:1", "VALETKEY_API_KEY": "k", "VALETKEY_API_KEY_FILE": "f"}, "one of them"),
        ({"VALETKEY_ENDPOINT": "b:1", "VALETKEY_API_KEY_FILE": "/nowhere/key"}, "there is no file /nowhere/key"),
        ({"VALETKEY_CONFIG": "/nowhere/c.toml"}, "config file: there is no file /nowhere/c.toml"),
        ({"VALETKEY_CONFIG": "~nobody-by-this-name/c"}, "config file: there is no file"),
        ({"VALETKEY_CONFIG": "/"}, "config file: / cannot be read: Is a directory"),
    ],
)
def test_what_is_missing_is_named_with_the_place_for_it(env: dict[str, str], says: str) -> None:
    """Protects the newcomer: the error says what is missing and where to put it."""
    with pytest.raises(SettingsError, match=says):
        load_settings(environ=env)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("endpoint = ", "is not TOML"),
        ('endpiont = "b:1"', "unknown key 'endpiont'; expected endpoint, api_key, ca_file"),
        ("endpoint = 8443", "endpoint in .* is not a string"),
        ("\xff\xfe", "is not text"),
    ],
)
def test_a_broken_config_file(tmp_path: Path, text: str, says: str) -> None:
    """Protects against settings that are silently ignored."""
    path = tmp_path / "c.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match=says):
        load_settings(config_file=path, environ={})


def test_a_home_that_is_no_directory_is_no_config_file() -> None:
    """Protects services whose HOME is /dev/null."""
    with pytest.raises(SettingsError, match="no endpoint"):
        load_settings(environ={"XDG_CONFIG_HOME": "/dev/null"})


@pytest.mark.parametrize(
    "text", ["broker:8443", "https://broker:8443", "HTTPS://broker:8443/", " broker:8443 ", "broker:08443"]
)
def test_spellings_of_an_endpoint(text: str) -> None:
    """Protects the spellings that people paste."""
    assert parse_endpoint(text) == "broker:8443"


def test_an_ipv6_endpoint_keeps_its_brackets() -> None:
    """Protects the port of an address that is full of colons."""
    assert parse_endpoint("https://[::1]:8443") == "[::1]:8443"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "broker",
        ":8443",
        "broker:",
        "broker:0",
        "broker:65536",
        "broker:x",
        "grpc://broker:8443",
        "::1:8443",
        "https://broker:8443/path",
        "user@broker:8443",
        "unix:/tmp/socket",
        "https://http://b:1",
        "b:1\n.c:2",
    ],
)
def test_what_is_no_endpoint(text: str) -> None:
    """Protects against a target that gRPC would take for something else, such as a Unix socket."""
    with pytest.raises(SettingsError, match="is not an endpoint; expected HOST:PORT"):
        parse_endpoint(text)


def test_plaintext_is_refused_by_its_name() -> None:
    """Protects the API key from ever being sent in the clear."""
    with pytest.raises(SettingsError, match="asks for plaintext, and a broker serves TLS only"):
        parse_endpoint("http://broker:8443")


def test_a_ca_file_must_hold_certificates(tmp_path: Path) -> None:
    """Protects against gRPC's own answer to a wrong CA file, which names neither file nor fault."""
    (tmp_path / "words").write_text("no certificate")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    for path, says in (
        (tmp_path / "missing", "missing cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (tmp_path / "words", "words holds no certificate; expected CA certificates in PEM form"),
        (tmp_path / "binary", "binary is not text"),
    ):
        with pytest.raises(SettingsError, match=says):
            read_ca_file(path)


@pytest.mark.parametrize("key", ["", "vk_a b", "vk_ü", "vk_a\n"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(key: str) -> None:
    """Protects against a header injection, and the key from the error's text."""
    with pytest.raises(SettingsError, match=r"^API key: is empty or holds spaces") as caught:
        Client("b:1", api_key=key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "says"), [("x" * 5000, "cannot be read: File name too long"), ("a\x00b", "is not a path")]
)
def test_a_key_file_whose_name_cannot_be(path: str, says: str) -> None:
    """Protects against a traceback out of the operating system's refusals."""
    with pytest.raises(SettingsError, match=says):
        load_settings(endpoint="b:1", api_key_file=path, environ={})
