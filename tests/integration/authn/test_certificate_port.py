"""The port for client certificates: one broker's own, told to operators, and checked before anything starts."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from support.spiffe import SpiffeCa
from valetkey_broker.cli.commands import app
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.settings import ServerSettings
from valetkey_broker.worker_supervisor import only_broker_on
from valetkey_devstack.ca import make_ca
from valetkey_devstack.free_ports import free_port


def server(port: int) -> ServerSettings:
    """Returns settings of a server that is never started."""
    return ServerSettings(port=port, tls_cert_file=Path("unused"), tls_key_file=Path("unused"))


def test_two_brokers_do_not_share_the_certificate_port() -> None:
    """Workers share their ports on purpose; a second broker that names the same certificate port is refused."""
    shared = free_port()
    with only_broker_on(server(free_port()), shared):
        with (
            pytest.raises(ConfigurationError, match=r"choose another authn\.mtls\.port"),
            only_broker_on(server(free_port()), shared),
        ):
            pass
        with pytest.raises(ConfigurationError, match=r"choose another server\.port"), only_broker_on(server(shared)):
            pass
    with only_broker_on(server(free_port()), shared):
        pass


@pytest.mark.parametrize("bundle", ["good", "broken"])
def test_check_config_says_who_is_admitted(tmp_path: Path, bundle: str) -> None:
    """An operator sees before a start which identities the broker admits, and which bundle cannot be read."""
    certificate, key = make_ca(tmp_path).issue("broker", tmp_path)
    (tmp_path / "bundle.pem").write_bytes(SpiffeCa().pem if bundle == "good" else b"broken")
    for name in ("role", "secret"):
        (tmp_path / name).write_text("unused")
    file = tmp_path / "broker.toml"
    file.write_text(f"""
[server]
tls_cert_file = "{certificate}"
tls_key_file = "{key}"
[vault]
address = "https://vault.invalid"
role_id_file = "{tmp_path}/role"
secret_id_file = "{tmp_path}/secret"
[ledger]
url = "sqlite:///{tmp_path}/ledger.db"
[authn.mtls]
port = 8444
trust_domains = {{ "example.org" = "{tmp_path}/bundle.pem" }}
[[authn.oidc]]
issuer = "https://issuer.example"
audience = "valetkey"
""")
    result = CliRunner().invoke(app, ["check-config", "--config", str(file)])
    if bundle == "good":
        assert result.exit_code == 0, result.output
        assert "admits       API keys, https://issuer.example, spiffe://example.org on port 8444" in result.output
    else:
        assert isinstance(result.exception, ConfigurationError)
        assert "bundle.pem: holds no CA certificates" in str(result.exception)
