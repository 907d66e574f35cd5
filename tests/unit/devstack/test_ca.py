"""The private CA: what it issues is good for strict clients, and its keys stay private."""

import asyncio
import ssl
import stat
from pathlib import Path

import pytest

from valetkey_devstack.ca import make_ca
from valetkey_devstack.child_process import tls_ready

# Python 3.13 verifies this strictly by default; older ones are told to.
_STRICT = ssl.VerifyFlags.VERIFY_X509_STRICT


async def _connect(port: int, ca_file: Path, name: str) -> None:
    context = ssl.create_default_context(cafile=str(ca_file))
    context.verify_flags |= _STRICT
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    writer.close()
    await writer.wait_closed()


async def _serve(certificate: Path, key: Path) -> tuple[asyncio.Server, int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_chain_verifies_strictly(tmp_path: Path, name: str) -> None:
    """Clients that verify as strictly as OpenSSL can must accept the servers of the dev stack."""
    authority = make_ca(tmp_path)
    server, port = await _serve(*authority.issue("server", tmp_path))
    async with server:
        await _connect(port, authority.ca_file, name)


async def test_other_authority_is_refused(tmp_path: Path) -> None:
    """Two stacks side by side do not trust each other, and a probe sees that a server is a stranger's."""
    (tmp_path / "other").mkdir()
    authority, other = make_ca(tmp_path), make_ca(tmp_path / "other")
    server, port = await _serve(*authority.issue("server", tmp_path))
    async with server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await _connect(port, other.ca_file, "localhost")
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await tls_ready(port, other.ca_file)()
        assert await tls_ready(port, authority.ca_file)()


async def test_name_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    """A certificate is good for its names only."""
    authority = make_ca(tmp_path)
    server, port = await _serve(*authority.issue("server", tmp_path, sans=("broker.example",)))
    async with server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await _connect(port, authority.ca_file, "localhost")
        await _connect(port, authority.ca_file, "broker.example")


def test_keys_are_private(tmp_path: Path) -> None:
    """Key files are readable by their owner only, also when an older one with open doors is replaced."""
    authority = make_ca(tmp_path)
    (tmp_path / "server.key").write_text("old")
    (tmp_path / "server.key").chmod(0o644)
    _, key = authority.issue("server", tmp_path)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "PRIVATE KEY" in key.read_text()


def test_authority_key_is_nowhere_on_disk(tmp_path: Path) -> None:
    """Nobody who gets at the directory can sign certificates that the user's clients trust."""
    make_ca(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ca.pem"]
    assert "PRIVATE" not in (tmp_path / "ca.pem").read_text()
