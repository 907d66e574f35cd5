"""Storage whose certificate is not trusted, as on a dev stack whose CA nobody named: it is told at once, and why."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

import valetkey
from support.cli_runner import Runner
from support.fake_broker import FakeBroker as CliBroker
from support.noting_storage import NotingStorage, running
from support.watch_messages import step
from valetkey import azure, storage_certificate_check
from valetkey.azure import aio
from valetkey.proxy import trust
from valetkey.testing import FakeBroker
from valetkey.testing.tls import certificate_for_loopback

WHY = "the certificate of storage at 127.0.0.1:{} is not trusted: self-signed certificate"


class TlsStorage(NotingStorage):
    """Speaks TLS, with a certificate that is its own CA's; `ca_file` has it."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        key, certificate = certificate_for_loopback()
        self.ca_file = directory / "storage.pem"
        self.ca_file.write_bytes(certificate)
        pair = directory / "pair.pem"
        pair.write_bytes(key + certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def why(self) -> str:
        return WHY.format(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what is tested."""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsStorage]:
    with running(TlsStorage(tmp_path_factory.mktemp("storage"))) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


async def test_azures_clients_do_not_try_for_a_minute(storage: TlsStorage) -> None:
    """Protects people from 83 s of retries that cannot help: the first try tells, in both kinds of clients."""
    with FakeBroker(url=storage.url.replace("http:", "https:")) as broker:
        with broker.token_source("az://models", ["write"]) as source, azure.container_client(source) as container:
            with pytest.raises(valetkey.SettingsError, match=f"{storage.why}; .* REQUESTS_CA_BUNDLE"):
                container.upload_blob("a.bin", b"weights")
            with azure.container_client(source, connection_verify=str(storage.ca_file)) as trusting:
                trusting.upload_blob("a.bin", b"weights")
        known = {"endpoint": broker.endpoint, "ca_file": broker.ca_file, "api_key_file": broker.api_key_file}
        async with (
            valetkey.AsyncTokenSource("az://models", ["write"], **known) as awaited,
            await aio.container_client(awaited) as asynchronous,
        ):
            with pytest.raises(valetkey.SettingsError, match=f"{storage.why}; .* SSL_CERT_FILE"):
                await asynchronous.upload_blob("a.bin", b"weights")
    assert len(storage.seen) == 1


def test_the_proxy_does_not_come_up(
    valetkey: Runner, broker: CliBroker, storage: TlsStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Protects people from a proxy that answers each request with 502: it says so at its start, with the remedy."""
    first = step(1, life=3600)
    first.token.resource.url = f"{storage.url.replace('http:', 'https:')}/models"
    broker.stream = [first]
    run = ("exec", "--resource", "az://models", "--", "touch", str(tmp_path / "ran"))
    ran = valetkey(*run)
    assert (ran.code, storage.why in ran.err, "VALETKEY_STORAGE_CA_FILE" in ran.err) == (2, True, True)
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv("VALETKEY_STORAGE_CA_FILE", str(storage.ca_file))
    assert valetkey(*run).code == 0
    assert (tmp_path / "ran").exists()


async def test_what_may_pass_is_not_told() -> None:
    """Protects starts while storage is away: only a certificate that was seen, and refused, keeps the proxy down."""
    await storage_certificate_check.check_certificate("https://127.0.0.1:9/contoso", trust(), "")
    await storage_certificate_check.check_certificate("http://127.0.0.1:9/contoso", trust(), "")
    assert storage_certificate_check.refused_certificate(OSError(ValueError("x"))) == ""
