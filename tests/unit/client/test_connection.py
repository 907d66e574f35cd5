"""Connections that do not come about: each is told apart, and the API key goes to no stranger."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import valetkey
from support.client_certificates import make_client_ca
from support.fake_broker import API_KEY, FakeBroker, running_fake_broker
from valetkey import Client
from valetkey_devstack.ca import make_ca


def test_nobody_at_the_endpoint() -> None:
    """Protects the most frequent first error: no broker there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        Client(f"127.0.0.1:{port}", api_key=API_KEY) as client,
        pytest.raises(
            valetkey.BrokerUnreachableError, match=rf"cannot reach the broker at 127.0.0.1:{port}: .*refused"
        ),
    ):
        client.list_connectors()


def test_a_host_that_does_not_resolve() -> None:
    """Protects against taking a DNS failure for a certificate's."""
    with (
        Client("nobody.invalid:8443", api_key=API_KEY) as client,
        pytest.raises(valetkey.BrokerUnreachableError, match="its host name does not resolve"),
    ):
        client.list_connectors()


def test_a_broker_of_another_ca_is_not_trusted(broker: FakeBroker, tmp_path: Path) -> None:
    """Protects the API key from a stranger at the endpoint; without a CA file as well."""
    for ca_file in (make_ca(tmp_path).ca_file, None):
        with (
            Client(broker.endpoint, api_key=API_KEY, ca_file=ca_file) as client,
            pytest.raises(valetkey.BrokerTlsError, match="not signed by a CA this client trusts"),
        ):
            client.list_connectors()
    assert broker.metadata == {}


def test_a_certificate_for_another_host_is_not_trusted(tmp_path: Path) -> None:
    """Protects the API key from another server of the same CA."""
    with (
        running_fake_broker(tmp_path, ("other.example",)) as broker,
        Client(broker.endpoint, api_key=API_KEY, ca_file=broker.ca_file) as client,
        pytest.raises(valetkey.BrokerTlsError, match="is for another host name"),
    ):
        client.list_connectors()


@pytest.mark.parametrize(
    ("hours", "says"),
    [((-2, -1), "has expired; whoever runs the broker has to renew it"), ((1, 2), "is not valid yet; check this")],
)
def test_a_certificate_out_of_its_time_is_told_apart(hours: tuple[int, int], says: str, tmp_path: Path) -> None:
    """Protects whoever would look for another CA where only the time is over, or a clock is wrong."""
    ca = make_client_ca("servers' CA")
    (tmp_path / "servers.pem").write_bytes(ca.pem)
    own = ca.issue(tmp_path / "server", hours=hours, address="127.0.0.1")
    with (
        running_fake_broker(tmp_path, own=own) as broker,
        Client(broker.endpoint, api_key=API_KEY, ca_file=tmp_path / "servers.pem") as client,
        pytest.raises(valetkey.BrokerTlsError, match=says),
    ):
        client.list_connectors()


@pytest.fixture
def web_server() -> Iterator[str]:
    """Answers one connection as an HTTP server without TLS does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_a_port_without_tls_is_told_apart(web_server: str) -> None:
    """Protects whoever mixed up the port."""
    with (
        Client(web_server, api_key=API_KEY) as client,
        pytest.raises(valetkey.BrokerTlsError, match="answers, but not in TLS"),
    ):
        client.list_connectors()


def test_a_client_certificate_with_a_key_of_the_wrong_kind_is_told_apart(tmp_path: Path) -> None:
    """Protects whoever has Ed25519 certificates from looking for a broker that is away: gRPC's TLS takes none."""
    ca = make_client_ca()
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    own, own_key = ca.issue(tmp_path / "server", address="127.0.0.1")
    certificate, key = ca.issue(tmp_path / "client", key=Ed25519PrivateKey.generate())
    server = grpc.server(ThreadPoolExecutor(1))
    demanding = grpc.ssl_server_credentials(
        [(own_key.read_bytes(), own.read_bytes())], root_certificates=ca.pem, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", demanding)
    server.start()
    with (
        Client(
            f"127.0.0.1:{port}", client_cert_file=certificate, client_key_file=key, ca_file=tmp_path / "ca.pem"
        ) as client,
        pytest.raises(valetkey.BrokerTlsError, match="expected a certificate with an RSA, P-256 or P-384 key"),
    ):
        client.list_connectors()
    server.stop(None).wait()
