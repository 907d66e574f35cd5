"""TLS contexts made of a CA file that changes."""

import ssl
from pathlib import Path

import pytest

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.watched_files import trusted_cas
from valetkey_devstack.ca import make_ca


@pytest.fixture
def pem(tmp_path: Path) -> bytes:
    return make_ca(tmp_path).ca_file.read_bytes()


def test_file_is_all_that_is_trusted(tmp_path: Path, pem: bytes) -> None:
    """With a CA file the system's CAs do not count, and certificates are verified with their names."""
    context = trusted_cas("the CAs", "x.ca_file", tmp_path / "ca.pem").current()
    assert [len(ca["subject"]) for ca in context.get_ca_certs()] == [1]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_without_a_file_the_system_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a CA file the system's CAs are used, once and for all."""
    trust = trusted_cas("the CAs", "x.ca_file", None, check_seconds=0.0)
    context = trust.current()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert trust.current() is context


def test_comments_in_any_script(tmp_path: Path, pem: bytes) -> None:
    """Bundles of public CAs carry their names as comments; those are passed over."""
    (tmp_path / "ca.pem").write_bytes("# Főtanúsítvány 機構\n".encode() + pem + b"\n" + pem)
    assert trusted_cas("the CAs", "x.ca_file", tmp_path / "ca.pem").current().get_ca_certs()


@pytest.mark.parametrize("ruin", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_bundle(tmp_path: Path, ruin: bytes) -> None:
    """A file without a usable CA is an error with its setting and path, not an empty set of CAs."""
    (tmp_path / "ca.pem").write_bytes(ruin)
    with pytest.raises(ConfigurationError, match=rf"x\.ca_file: {tmp_path}/ca.pem: holds no CA certificates"):
        trusted_cas("the CAs", "x.ca_file", tmp_path / "ca.pem").current()


@pytest.mark.parametrize("left", [0.2, 0.51, 0.7, 0.95])
def test_bundle_cut_anywhere_leaves_the_old_one(tmp_path: Path, pem: bytes, left: float) -> None:
    """A bundle whose writer is not done is not used, though its first certificates are whole."""
    file = tmp_path / "ca.pem"
    trust = trusted_cas("the CAs", "x.ca_file", file, check_seconds=0.0)
    first = trust.current()
    whole = pem + pem
    file.write_bytes(whole[: int(len(whole) * left)])
    assert trust.current() is first
    file.write_bytes(whole)
    assert trust.current() is not first
