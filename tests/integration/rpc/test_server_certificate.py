"""The server's certificate is rotated while it serves: the next connection meets the new one, on both ports."""

import asyncio
import base64
import shutil
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from support.captured_log import Log
from support.client_certificates import make_client_ca
from support.inproc import running_broker
from support.scraping import until_scraped
from support.spiffe import DOMAIN, SpiffeCa
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.rpc.server_certificate import ServerCertificate
from valetkey_broker.settings import ServerSettings, check_certificate, check_key_kind
from valetkey_devstack.ca import make_ca
from valetkey_devstack.free_ports import free_port

UNUSABLE = "valetkey_server_certificate_unusable"
# P-256 with its parameters written out, as `openssl req -pkeyopt ec_param_enc:explicit` makes it.
_EXPLICIT = base64.b64decode(
    "MIICYjCCAgegAwIBAgIUYhWyTvpvlWDU7cNBgr2J4j/QkSAwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBZTAeFw0yNjExMjcyMzE1"
    "MzRaFw0zNjExMjQyMzE1MzRaMAwxCjAIBgNVBAMMAWUwggFLMIIBAwYHKoZIzj0CATCB9wIBATAsBgcqhkjOPQEBAiEA/////wAA"
    "AAEAAAAAAAAAAAAAAAD///////////////8wWwQg/////wAAAAEAAAAAAAAAAAAAAAD///////////////wEIFrGNdiqOpPns+u9"
    "VXaYhrxlHQawzFOw9jvOPD4n0mBLAxUAxJ02CIbnBJNqZnjhE50mt4GffpAEQQRrF9Hy4SxCR/i85uVjpEDydwN9gS3rM6D0oTlF"
    "2JjClk/jQuL+Gn+bjufrSnwPnhYrzjNXazFezsu2QGg3v1H1AiEA/////wAAAAD//////////7zm+q2nF56E87nKwvxjJVECAQED"
    "QgAERmZMMrvG8iRnG4XdoiuhyUxQv9qOpyjhlVWeW/itOeeMCG7RTiP2kUu50hL1pvAJezoK6sAR2z1nxKO667Z196NTMFEwHQYD"
    "VR0OBBYEFD/SbI+5+qmDOoeM9nQhsDFwbCSbMB8GA1UdIwQYMBaAFD/SbI+5+qmDOoeM9nQhsDFwbCSbMA8GA1UdEwEB/wQFMAMB"
    "Af8wCgYIKoZIzj0EAwIDSQAwRgIhAI9wP0kTQunGaXADPO0mDWfsb+zhltFchfmLZMZvWf1HAiEA7NRKMUnne4E7JceNRp0Hbl1s"
    "9iC3ajHBB3sS4HRyswA="
)


async def shown(port: int) -> int:
    """Returns the serial number of the certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


async def until_shown(port: int, serial: int) -> None:
    """Waits until new connections are shown that certificate."""
    async with asyncio.timeout(60):
        while await shown(port) != serial:  # noqa: ASYNC110 (only a new connection shows it)
            await asyncio.sleep(0.1)


def serial(certificate: Path) -> int:
    return x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number


def renewed(directory: Path) -> tuple[Path, Path]:
    """Returns another certificate and key, in files of their own."""
    (directory / "new").mkdir()
    return make_ca(directory / "new").issue("broker", directory / "new")


def put(file: Path, place: Path) -> None:
    """Puts a file in the place of another in one step: who looks meanwhile finds no half of it."""
    whole = place.with_name(f"{place.name}.whole")
    shutil.copy(file, whole)
    whole.replace(place)


async def test_both_ports_show_the_renewed_certificate(log: Log, tmp_path: Path) -> None:
    """Nobody restarts a broker every time cert-manager renews; half of a pair changes nothing and is said once."""
    (tmp_path / "spiffe.pem").write_bytes(SpiffeCa().pem)
    mtls = {"port": free_port(), "trust_domains": {DOMAIN: tmp_path / "spiffe.pem"}}
    metrics = free_port()
    async with running_broker(tmp_path, authn={"mtls": mtls}, metrics={"port": metrics}) as broker:
        await broker.ready()
        server = broker.settings.server
        old, (certificate, key) = serial(server.tls_cert_file), renewed(tmp_path)
        ports = (server.port, int(str(mtls["port"])))
        assert {await shown(port) for port in ports} == {old}
        put(key, server.tls_key_file)
        for _ in range(25):  # Longer than changes take to be seen.
            assert {await shown(port) for port in ports} == {old}
            await asyncio.sleep(0.1)
        (line,) = log.events("a changed file cannot be used; the old content stays")
        assert line["level"] == "error"
        assert "server.tls_key_file: does not belong" in line["error"]
        await until_scraped(metrics, lambda told: told.value(UNUSABLE) == 1)
        put(certificate, server.tls_cert_file)
        for port in ports:
            await until_shown(port, serial(certificate))
        assert await broker.healthy()
        await until_scraped(metrics, lambda told: told.value(UNUSABLE) == 0)


async def test_a_pair_that_cannot_be_read_is_told_and_served_without(log: Log, tmp_path: Path) -> None:
    """Rubbish in the files is no outage: the old pair is served, and log and metric say so without any handshake."""
    metrics = free_port()
    async with running_broker(tmp_path, metrics={"port": metrics}) as broker:
        await broker.ready()
        server = broker.settings.server
        old, left = serial(server.tls_cert_file), "valetkey_server_certificate_remaining_seconds"
        server.tls_cert_file.write_bytes(b"PLANTED rubbish")
        server.tls_key_file.unlink()
        told = await until_scraped(metrics, lambda told: told.value(UNUSABLE) == 1)
        assert (told.value(left) or 0) > 0
        # One line or two: the files may be looked at between the two steps.
        lines = log.events("a changed file cannot be used; the old content stays")
        assert {line["level"] for line in lines} == {"error"}
        assert "PLANTED" not in log.text
        assert await shown(server.port) == old
        certificate, key = renewed(tmp_path)
        put(key, server.tls_key_file)
        put(certificate, server.tls_cert_file)
        await until_shown(server.port, serial(certificate))
        await until_scraped(metrics, lambda told: told.value(UNUSABLE) == 0)


@pytest.mark.parametrize("broken", ["tls_cert_file", "tls_key_file"])
def test_what_cannot_be_used_is_told_by_its_setting(tmp_path: Path, broken: str) -> None:
    """At the start, and in the log after a renewal, an operator reads which of the two files is wrong."""
    certificate, key = make_ca(tmp_path).issue("broker", tmp_path)
    settings = ServerSettings(tls_cert_file=certificate, tls_key_file=key)
    assert ServerCertificate(settings).current().chain == certificate.read_bytes()
    getattr(settings, broken).write_bytes(b"PLANTED rubbish")
    with pytest.raises(ConfigurationError, match=f"server.{broken}: is not") as caught:
        ServerCertificate(settings)
    assert "PLANTED" not in str(caught.value)


def test_a_chain_that_breaks_off_is_not_served(tmp_path: Path) -> None:
    """Clients could make nothing of a chain without its end; while it is being written the earlier one is served."""
    certificate, key = make_ca(tmp_path).issue("broker", tmp_path)
    settings = ServerSettings(tls_cert_file=certificate, tls_key_file=key)
    served = ServerCertificate(settings, check_seconds=0.0)
    first, whole = served.current(), certificate.read_bytes() + (tmp_path / "ca.pem").read_bytes()
    certificate.write_bytes(whole[:-40])
    assert served.current() is first
    assert served.unusable
    with pytest.raises(ConfigurationError, match=r"broker\.pem: is not a certificate"):
        check_certificate(certificate, key)
    certificate.write_bytes(whole)
    assert served.current().chain == whole


@pytest.mark.parametrize("curve", ["P-384", "P-521", "Ed25519"])
def test_a_key_that_no_client_connects_to_is_refused(tmp_path: Path, curve: str) -> None:
    """Protects from serving what ends every handshake: a start, and a renewal, say what is wrong instead."""
    keys = {"P-384": ec.generate_private_key(ec.SECP384R1()), "P-521": ec.generate_private_key(ec.SECP521R1())}
    key = keys.get(curve) or ed25519.Ed25519PrivateKey.generate()
    certificate, key_file = make_client_ca().issue(tmp_path, address="127.0.0.1", key=key)
    settings = ServerSettings(tls_cert_file=certificate, tls_key_file=key_file)
    if curve == "P-384":
        check_certificate(certificate, key_file)
        assert ServerCertificate(settings).current().chain == certificate.read_bytes()
        return
    with pytest.raises(ConfigurationError, match=r"client\.pem: has a key .* expected RSA, P-256 or P-384"):
        check_certificate(certificate, key_file)
    with pytest.raises(ConfigurationError, match=r"server\.tls_cert_file: has a key that no gRPC client connects to"):
        ServerCertificate(settings)


def _respelt(directory: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, old: str, new: str) -> bytes:
    """Returns a certificate of a key that calls itself something else, DER."""
    certificate, _ = make_client_ca().issue(directory, address="127.0.0.1", key=key)
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
    return der.replace(bytes.fromhex(old), bytes.fromhex(new))


@pytest.mark.parametrize("kind", ["RSA", "RSASSA-PSS", "secp224k1", "explicit"])
def test_a_key_that_grpc_does_not_serve_is_refused(tmp_path: Path, kind: str) -> None:
    """Protects from "Failed to bind to address", which is all that gRPC says of them, and from a traceback."""
    if kind == "explicit":
        der = _EXPLICIT
    elif kind == "secp224k1":
        der = _respelt(tmp_path, ec.generate_private_key(ec.SECP256K1()), "06052b8104000a", "06052b81040020")
    else:
        named = {"RSA": "06092a864886f70d0101010500", "RSASSA-PSS": "06092a864886f70d01010a3000"}
        der = _respelt(tmp_path, rsa.generate_private_key(65537, 2048), named["RSA"], named[kind])
    certificate = x509.load_der_x509_certificate(der)
    if kind == "RSA":
        check_key_kind("server.pem", certificate)
        return
    with pytest.raises(ConfigurationError, match=r"^server\.pem: has a key .* expected RSA, P-256 or P-384"):
        check_key_kind("server.pem", certificate)
    settings = ServerSettings(tls_cert_file=tmp_path / "client.pem", tls_key_file=tmp_path / "none.key")
    settings.tls_cert_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    settings.tls_key_file.write_bytes(b"not looked at")
    with pytest.raises(ConfigurationError, match=r"server\.tls_cert_file: has a key that no gRPC client connects to"):
        ServerCertificate(settings)
