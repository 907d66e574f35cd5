"""The connection to the broker: always TLS, with the caller's certificate if it has one."""

import functools
import ipaddress
import re
import ssl
from pathlib import Path

import grpc

from valetkey.errors import SettingsError
from valetkey.identity import Identity
from valetkey.no_proxy_variable import kept_from_the_proxy
from valetkey.version import VERSION

_ENDPOINT = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65535
CONNECT_MS = 10_000
_EXPECTED = "HOST:PORT, such as broker.example.com:8443"


def parse_endpoint(text: str) -> str:
    """Returns an endpoint as `HOST:PORT`; `https://HOST:PORT` is taken too.

    Raises SettingsError for anything else: there are no plaintext endpoints.
    """
    scheme, separator, rest = text.strip().rpartition("://")
    if separator and scheme.lower() == "http":
        raise SettingsError(
            f"endpoint: {text!r} asks for plaintext, and a broker serves TLS only; expected {_EXPECTED}"
        )
    match = _ENDPOINT.fullmatch(rest.removesuffix("/"))
    if (separator and scheme.lower() != "https") or not match or not 0 < int(match["port"]) <= _MAX_PORT:
        raise SettingsError(f"endpoint: {text!r} is not an endpoint; expected {_EXPECTED}")
    return f"{match['host']}:{int(match['port'])}"


def read_ca_file(path: Path) -> bytes:
    """Returns the PEM certificates in a file.

    Raises SettingsError where the file cannot be read or holds no certificate.
    """
    try:
        pem = path.read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii"))
    except ssl.SSLError:
        raise SettingsError(f"CA file: {path} holds no certificate; expected CA certificates in PEM form") from None
    except OSError as error:
        raise SettingsError(f"CA file: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"CA file: {path} is not text; expected CA certificates in PEM form") from None
    return pem


def open_channel(endpoint: str, identity: Identity, ca_file: Path | None) -> grpc.Channel:
    """Returns a channel to `HOST:PORT`; nothing is sent before the first call.

    Raises SettingsError where the CA file or the client certificate cannot be used.
    """
    credentials = channel_credentials(identity, ca_file)
    keep_grpc_up()
    return grpc.secure_channel(f"dns:///{endpoint}", credentials, options=channel_options(endpoint))


@functools.cache
def keep_grpc_up() -> grpc.Channel:
    """Returns a channel that is never used, nor collected.

    With its last channel gRPC (1.85.1) takes itself down, in a thread of its own, for which no fork waits.
    """
    return grpc.insecure_channel("dns:///localhost:1")  # nothing is ever sent


def channel_credentials(identity: Identity, ca_file: Path | None) -> grpc.ChannelCredentials:
    """Returns whom to trust and what to show, as it stands in the files now.

    Raises SettingsError where the CA file or the client certificate cannot be used.
    """
    roots = read_ca_file(ca_file) if ca_file else None
    certificate, key = identity.key_pair() or (None, None)
    return grpc.ssl_channel_credentials(roots, key, certificate)


def channel_options(endpoint: str) -> list[tuple[str, str | int]]:
    """Returns how a channel to `HOST:PORT` behaves."""
    options: list[tuple[str, str | int]] = [
        ("grpc.primary_user_agent", f"valetkey/{VERSION}"),
        # A channel that takes the place of another one must not take over its connection.
        ("grpc.use_local_subchannel_pool", 1),
        # Under a waiting call a connection is kept alive, and a dead one is found. Servers take a ping each 20 s.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        # A broker that was away is found again this soon after it is back, however long it was away.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 3_000),
        # How long one attempt to connect may take, despite its name.
        ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
        ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ]
    host, _, port = endpoint.rpartition(":")
    host = host.strip("[]")
    # A proxy of the environment never reaches this machine's own loopback.
    if _is_loopback(host) or kept_from_the_proxy(host, int(port)):
        options.append(("grpc.enable_http_proxy", 0))
    return options


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
