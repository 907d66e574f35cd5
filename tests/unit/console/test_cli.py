"""`valetkey-console serve`: what it says where it cannot start, and how it would serve."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from valetkey_console.cli import app, server_config
from valetkey_console.settings import Settings


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "endpoint: not given"),
        (("--endpoint", "http://broker:1"), "plaintext"),
        (("--endpoint", "broker:1", "--ca-file", "nowhere.pem"), "/nowhere.pem cannot be read"),
        (("--endpoint", "broker:1", "--issuer-ca-file", "nowhere.pem"), "issuer CA file: nowhere.pem cannot be read"),
        (("--endpoint", "broker:1", "--host", "0.0.0.0"), "in the clear"),
        (("--endpoint", "broker:1", "--session-key-file", "nowhere.key"), "session_key_file: nowhere.key"),
        (("--endpoint", "broker:1", "--login-client-id", "x"), "login_issuer: not given"),
        (("--config", "nowhere.toml"), "nowhere.toml cannot be read"),
    ],
)
def test_what_cannot_start(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ends with 2 and says which setting it is, in one line."""
    monkeypatch.chdir(tmp_path)
    for name in ("VALETKEY_ENDPOINT", "VALETKEY_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    ran = CliRunner().invoke(app, ["serve", *arguments])
    assert ran.exit_code == 2
    assert said in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("content", ["", "short", "not base64!", "a2tra2s="])
def test_session_keys_that_are_none(content: str, tmp_path: Path) -> None:
    """Are refused with how one is made; the message has none of it."""
    file = tmp_path / "key"
    file.write_text(content)
    ran = CliRunner().invoke(app, ["serve", "--endpoint", "broker:1", "--session-key-file", str(file)])
    assert ran.exit_code == 2
    assert "openssl rand -base64 32" in ran.stderr
    assert not content or content not in ran.stderr.replace(str(file), "")


def test_nothing_of_a_proxy_counts_and_no_query_is_logged() -> None:
    """Uvicorn's own log would have queries, and it would believe headers about where a request comes from."""
    config = server_config(Settings(endpoint="broker:1"), None)
    assert config.access_log is False
    assert config.proxy_headers is False
    assert config.server_header is False


def test_connections_are_bounded() -> None:
    """However many open one: each costs memory, and one that asks for nothing is closed."""
    config = server_config(Settings(endpoint="broker:1"), None)
    assert config.limit_concurrency == 500
    assert config.timeout_keep_alive == 5
