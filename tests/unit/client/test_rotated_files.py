"""Files that others rotate under a client that lives long: the certificate, its key, the CAs."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given, settings
from hypothesis import strategies as st

import valetkey
from support.cli_runner import Runner
from support.client_certificates import ClientCa, make_client_ca
from support.fake_broker import API_KEY, FakeBroker, running_fake_broker
from support.network import network_before
from support.watch_messages import end, step
from valetkey import Client
from valetkey.certificate_validity import validity


@pytest.fixture
def ca() -> ClientCa:
    return make_client_ca()


@pytest.fixture
def mtls(tmp_path: Path, ca: ClientCa) -> Iterator[FakeBroker]:
    directory = tmp_path / "mtls"
    directory.mkdir()
    with running_fake_broker(directory, client_ca=ca.pem) as broker:
        yield broker


def svid(ca: ClientCa, directory: Path, name: str) -> tuple[Path, Path]:
    """Writes the certificate of a workload where the one before was."""
    return ca.issue(directory, f"spiffe://example.org/{name}")


def who(broker: FakeBroker) -> bytes:
    """Returns whom the last call showed."""
    found: bytes = broker.peer["x509_subject_alternative_name"][0]
    return found.rpartition(b"/")[2]


def test_a_new_certificate_is_used_without_a_restart(mtls: FakeBroker, ca: ClientCa, tmp_path: Path) -> None:
    """Protects programs that outlive their certificate, which is an hour or less."""
    certificate, key = svid(ca, tmp_path / "svid", "one")
    with Client(mtls.endpoint, client_cert_file=certificate, client_key_file=key, ca_file=mtls.ca_file) as client:
        client.list_connectors()
        assert who(mtls) == b"one"
        svid(ca, tmp_path / "svid", "two")
        client.list_connectors()
        assert who(mtls) == b"two"


def test_half_of_a_pair_leaves_the_old_one_in_use(mtls: FakeBroker, ca: ClientCa, tmp_path: Path) -> None:
    """Protects calls in the moment between the writing of one file and that of the other, and while one is gone."""
    certificate, key = svid(ca, tmp_path / "svid", "one")
    fresh = svid(ca, tmp_path / "fresh", "two")
    with Client(mtls.endpoint, client_cert_file=certificate, client_key_file=key, ca_file=mtls.ca_file) as client:
        client.list_connectors()
        key.write_bytes(fresh[1].read_bytes())
        client.list_connectors()
        assert who(mtls) == b"one"
        certificate.unlink()
        client.list_connectors()
        assert who(mtls) == b"one"
        certificate.write_bytes(fresh[0].read_bytes())
        client.list_connectors()
        assert who(mtls) == b"two"


def test_a_link_that_is_swapped_counts_as_a_change(mtls: FakeBroker, ca: ClientCa, tmp_path: Path) -> None:
    """Protects Kubernetes' mounted secrets: the path stays, and a link before it is turned."""
    for name in ("one", "two"):
        svid(ca, tmp_path / name, name)
    current = tmp_path / "current"
    current.symlink_to(tmp_path / "one")
    with Client(
        mtls.endpoint,
        client_cert_file=current / "client.pem",
        client_key_file=current / "client.key",
        ca_file=mtls.ca_file,
    ) as client:
        client.list_connectors()
        current.unlink()
        current.symlink_to(tmp_path / "two")
        client.list_connectors()
        assert who(mtls) == b"two"


def test_a_new_api_key_is_used_without_a_restart(broker: FakeBroker, tmp_path: Path) -> None:
    """Protects programs whose key is mounted as a file and replaced before it ends; what is no key is said at once."""
    path = tmp_path / "key"
    with Client(broker.endpoint, api_key_file=path, ca_file=broker.ca_file) as client:
        for key in (API_KEY, "vk_" + "n" * 43):
            path.write_text(f"{key}\n")
            broker.api_key = key
            client.list_connectors()
            assert broker.metadata["authorization"] == f"Bearer {key}"
            assert key not in repr(client)
        path.write_text("vk_ n")
        with pytest.raises(
            valetkey.SettingsError, match=r"API key: file .* holds spaces or other than ASCII; expected"
        ):
            client.list_connectors()


def test_a_new_ca_is_trusted_without_a_restart(broker: FakeBroker, tmp_path: Path) -> None:
    """Protects clients from the broker's move to another CA."""
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(make_client_ca("another").pem)
    with Client(broker.endpoint, api_key=API_KEY, ca_file=trusted) as client:
        with pytest.raises(valetkey.BrokerTlsError):
            client.list_connectors()
        trusted.write_bytes(broker.ca_file.read_bytes())
        client.list_connectors()


def test_calls_under_way_end_on_the_old_connection_and_then_it_is_closed(
    mtls: FakeBroker, ca: ClientCa, tmp_path: Path
) -> None:
    """Protects streams from being cut by a rotation, and brokers from connections that nobody uses."""
    certificate, key = svid(ca, tmp_path / "svid", "one")
    go_on = threading.Event()
    mtls.stream = [step(1), go_on.wait, step(2), end("GRANT_GONE")]
    with (
        network_before(mtls.endpoint) as network,
        Client(network.endpoint, client_cert_file=certificate, client_key_file=key, ca_file=mtls.ca_file) as client,
    ):
        with closing(client.watch_token("az://models", ["read"])) as tokens:
            assert next(tokens).lease_id == "lease-1"
            svid(ca, tmp_path / "svid", "two")
            client.list_connectors()
            assert (who(mtls), network.connections) == (b"two", 2)
            go_on.set()
            assert next(tokens).lease_id == "lease-2"
            with pytest.raises(valetkey.WatchEndedError):
                next(tokens)
        patience = time.monotonic() + 30
        while network.connections > 1 and time.monotonic() < patience:
            time.sleep(0.05)
        assert network.connections == 1


@pytest.mark.parametrize(
    ("hours", "says"), [((-2, -1), "expired at "), ((1, 2), "counts from "), ((1, 2), "check this machine's clock")]
)
def test_a_certificate_out_of_its_time_is_named(
    hours: tuple[int, int], says: str, mtls: FakeBroker, ca: ClientCa, tmp_path: Path, bare: Runner
) -> None:
    """Protects whoever would search the network for what the certificate's dates tell; exit 3, as for a token."""
    certificate, key = ca.issue(tmp_path / "svid", hours=hours)
    ran = bare(
        *("--endpoint", mtls.endpoint, "--ca-file", str(mtls.ca_file)),
        *("--client-cert-file", str(certificate), "--client-key-file", str(key)),
        *("service-connector", "list"),
    )
    assert ran.code == 3
    assert f"cannot connect to the broker at {mtls.endpoint}: the client certificate in {certificate} " in ran.err
    assert says in ran.err


def _ending(moment: datetime) -> bytes:
    return (
        x509.CertificateBuilder()
        .subject_name(_CA.certificate.subject)
        .issuer_name(_CA.certificate.subject)
        .public_key(_CA.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment)
        .sign(_CA.key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


_CA = make_client_ca()
_WHOLE = ssl.PEM_cert_to_DER_cert(_ending(datetime(2030, 1, 1, tzinfo=UTC)).decode())


@given(st.datetimes(datetime(1971, 1, 1), datetime(2300, 1, 1)))  # noqa: DTZ001 (naive is what it takes)
@settings(max_examples=40)
def test_the_end_of_a_certificate_is_read_as_others_read_it(moment: datetime) -> None:
    """Protects the few lines that read it, in both forms that times have in certificates."""
    end_of_it = moment.replace(microsecond=0, tzinfo=UTC)
    assert validity(b"before\n" + _ending(end_of_it)) == (end_of_it - timedelta(days=1), end_of_it)


@given(st.binary(max_size=400), st.integers(0, len(_WHOLE) - 1))
@settings(max_examples=100)
def test_rubbish_is_no_certificate(rubbish: bytes, cut: int) -> None:
    """Protects an error from being hidden behind one of reading the dates."""
    assert not readable(rubbish)
    assert not readable(_WHOLE[:cut])
    readable(_WHOLE[:cut] + rubbish)  # may be a certificate; raises nothing else in any case


def readable(der: bytes) -> bool:
    """Tells whether an end can be read."""
    try:
        validity(ssl.DER_cert_to_PEM_cert(der).encode())
    except ValueError:
        return False
    return True
