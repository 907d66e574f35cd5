"""Settings of the console: what is refused, and what addresses come of them."""

from pathlib import Path
from typing import Any

import pytest

from valetkey_console.settings import Settings, SettingsError, load_settings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"endpoint": ""}, "endpoint: not given"),
        ({"host": "0.0.0.0"}, "in the clear"),
        ({"tls_cert_file": Path("x")}, "expected both"),
        ({"outer_url": "http://console.example.com"}, "expected https://"),
        ({"outer_url": "https://"}, "expected https://"),
        ({"outer_url": "https://me@console.example.com"}, "expected https://"),
        ({"outer_url": "https://console.example.com/?x=1"}, "more than a host and a path"),
        ({"outer_url": "https://console.example.com//evil"}, "more than a host and a path"),
        ({"outer_url": "javascript:alert(1)"}, "expected https://"),
    ],
)
def test_what_cannot_be_used(wrong: dict[str, Any], said: str) -> None:
    """Says which setting, and what was expected."""
    with pytest.raises(SettingsError, match=said):
        Settings(**{"endpoint": "broker:8443", **wrong})


def test_addresses() -> None:
    """On a loopback address both of its names are ours; with an outer URL that one alone, whatever the host."""
    plain = Settings(endpoint="b:1", port=8480)
    assert plain.address == "http://127.0.0.1:8480/"
    assert plain.origins == {"http://127.0.0.1:8480", "http://localhost:8480"}
    assert plain.hosts == {"127.0.0.1:8480", "localhost:8480"}
    behind = Settings(endpoint="b:1", host="0.0.0.0", outer_url="https://Ops.example.com/vk/")
    assert behind.origins == {"https://ops.example.com"}
    assert (behind.hosts, behind.base_path, behind.address) == (frozenset(), "/vk", "https://Ops.example.com/vk/")


def test_the_file_under_what_is_given(tmp_path: Path) -> None:
    """Options come before the file; paths in the file are relative to it; a word that is unknown is refused."""
    file = tmp_path / "console.toml"
    file.write_text('endpoint = "one:1"\nca_file = "ca.pem"\nport = 1\napi_key_login = true\n')
    found = load_settings(file, {"endpoint": "two:2", "port": None})
    assert (found.endpoint, found.port, found.ca_file, found.api_key_login) == ("two:2", 1, tmp_path / "ca.pem", True)
    for text, said in (("x = 1", "'x'"), ('port = "1"', "expected a int"), ("port", "no TOML")):
        file.write_text(text)
        with pytest.raises(SettingsError, match=said):
            load_settings(file, {})
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path / "nowhere.toml", {})
