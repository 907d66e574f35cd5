"""What the service connector hands out: where the broker is, whom to trust, who asks; never a secret."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from valetkey.errors import SettingsError
from valetkey.zenml.broker_access import BrokerAccess

WAY = BrokerAccess(resource="az://models", endpoint="broker.invalid:8443", token_file="/var/run/valetkey/token")


def test_the_connector_says_where_and_who(tmp_path: Path) -> None:
    """A pod needs no settings of its own."""
    ca = tmp_path / "ca.pem"
    ca.write_text("a certificate")
    found = replace(WAY, ca_file=str(ca)).arguments({})
    assert found["endpoint"] == "broker.invalid:8443"
    assert found["ca_file"] == ca
    assert (found["token_file"], found["api_key"]) == (Path("/var/run/valetkey/token"), None)


def test_who_has_an_identity_keeps_it() -> None:
    """Whoever registers a connector for pods has no pod's token; the endpoint stays that of the connector."""
    found = WAY.arguments({"VALETKEY_API_KEY": "vk_mine", "VALETKEY_ENDPOINT": "other.invalid:1"})
    assert (found["api_key"], found["token_file"]) == ("vk_mine", None)
    assert found["endpoint"] == "broker.invalid:8443"


def test_a_ca_file_of_another_machine() -> None:
    """It is left out, for the machine's own to count."""
    way = replace(WAY, ca_file="/no/such/ca.pem")
    assert way.arguments({})["ca_file"] is None
    assert way.arguments({"VALETKEY_CA_FILE": "/mine.pem"})["ca_file"] == Path("/mine.pem")


def test_a_ca_that_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate comes to lie in a file of this user's, the same each time, and mended where it was changed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    way = replace(WAY, ca_certificate="-----BEGIN CERTIFICATE-----\n…", ca_file="/no/such/ca.pem")
    first = way.arguments({})["ca_file"]
    assert first.read_text() == way.ca_certificate
    assert first.parent.stat().st_mode & 0o077 == 0
    first.write_text("something else")
    assert way.arguments({})["ca_file"] == first
    assert first.read_text() == way.ca_certificate


def test_a_folder_that_others_can_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA is never taken from a folder that somebody else laid out."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    way = replace(WAY, ca_certificate="-----BEGIN CERTIFICATE-----\n…")
    usual = way.arguments({})["ca_file"].parent
    usual.chmod(0o777)
    found = way.arguments({})["ca_file"]
    assert found.parent != usual
    assert found.read_text() == way.ca_certificate
    # What somebody else puts there in its place keeps nobody from working, either.
    shutil.rmtree(usual)
    usual.symlink_to("/no/such/folder")
    assert way.arguments({})["ca_file"] == found
    usual.unlink()
    usual.write_text("")
    shutil.rmtree(found.parent)
    assert way.arguments({})["ca_file"].read_text() == way.ca_certificate


def test_no_identity_at_all() -> None:
    """The error says where one can come from."""
    with pytest.raises(SettingsError, match="no identity"):
        replace(WAY, token_file="").arguments({"XDG_CONFIG_HOME": "/nowhere"})


def test_it_travels_and_holds_no_secret() -> None:
    """Pickled, it is its parameters; a source of tokens knows whom to ask."""
    way = replace(WAY, connector="azure-blob-demo")
    assert pickle.loads(pickle.dumps(way)) == way  # noqa: S301 (our own)
    source = way.source(["read"])
    assert b"az://models" in pickle.dumps(source)
    source.close()
