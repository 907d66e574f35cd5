"""`valetkey-broker health`: asks the running broker's health service, cheaply enough for a probe every few seconds.

Loading gRPC, the settings and the command line costs a second of processor time, which a probe would spend for ever. So
this module needs the standard library alone: it reads of the settings where the broker listens, and says the one call,
grpc.health.v1.Health/Check, in HTTP/2 itself.
"""

import argparse
import json
import os
import socket
import ssl
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

# Second copies of what valetkey_broker.settings says, which takes long to load; a test holds them against it.
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8443
_ENV = "VALETKEY_BROKER_"
_CONFIG_ENV = f"{_ENV}CONFIG"
EXIT_CONFIGURATION = 78
DEFAULT_TIMEOUT_SECONDS = 3.0
_PATH = b"/grpc.health.v1.Health/Check"
# Types and flags of frames: RFC 9113, section 6.
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
# Nothing that health says comes near; whoever sends more is no broker.
_LARGEST_FRAME = 16 * 1024


class Status(Enum):
    """What a broker says of itself (grpc.health.v1.HealthCheckResponse.ServingStatus)."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2


class ProbeError(Exception):
    """Nobody answers there as a broker does; the text says what happened instead."""


class AddressError(Exception):
    """The settings do not say where the broker listens."""


def address_of(config: Path | None, environment: Mapping[str, str]) -> tuple[str, int]:
    """Returns the host and port to ask, as `serve` finds them: the environment wins over the file.

    Raises AddressError where they cannot be read.
    """
    section: dict[str, Any] = {}
    if config is not None:
        try:
            found = tomllib.loads(config.read_text(encoding="utf-8")).get("server", {})
        except OSError as error:
            raise AddressError(f"{config}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise AddressError(f"{config}: is not TOML: {error}") from None
        section.update(found if isinstance(found, dict) else {})
    given = {name.upper(): value for name, value in environment.items()}
    try:
        whole = json.loads(given.get(f"{_ENV}SERVER", "{}"))
        section.update(whole if isinstance(whole, dict) else {})
        for name in ("host", "port"):
            if (value := given.get(f"{_ENV}SERVER__{name.upper()}")) is not None:
                section[name] = value
        port = int(section.get("port", DEFAULT_PORT))
    except ValueError:
        raise AddressError("server.port is not a number; `valetkey-broker check-config` says more") from None
    host = str(section.get("host", DEFAULT_HOST))
    # A broker that listens on all addresses listens on this machine's own.
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104


def ask(host: str, port: int, timeout_seconds: float) -> Status:
    """Returns what the broker at an address says. Raises ProbeError where it says nothing within the time."""
    # Whose certificate answers is not looked at: nothing secret is said, and a certificate that has run out must not
    # have a broker restarted that streams tokens to clients connected long ago.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    deadline = time.monotonic() + timeout_seconds
    try:
        with (
            socket.create_connection((host, port), timeout_seconds) as plain,
            context.wrap_socket(plain) as connection,
        ):
            connection.sendall(_request(host, port))
            return _answer(connection, deadline)
    except TimeoutError:
        raise ProbeError(f"no answer within {timeout_seconds:g} s") from None
    except ssl.SSLError as error:
        raise ProbeError(f"no TLS: {error.reason}") from None
    except OSError as error:
        raise ProbeError(error.strerror or type(error).__name__) from None


def _answer(connection: ssl.SSLSocket, deadline: float) -> Status:
    message = b""
    for kind, flags, stream, payload in _frames(connection, deadline):
        if kind == _SETTINGS and not flags & _ACK:
            connection.sendall(_frame(_SETTINGS, _ACK, 0))
        elif kind == _GOAWAY or (kind == _RST_STREAM and stream):
            raise ProbeError("the broker took no call")
        elif kind == _DATA and stream:
            message += payload
        if stream and kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            break
    # One message: a flag and a length of five bytes, then field 1, a varint, which is left out where it is 0.
    if len(message) < 5:  # noqa: PLR2004
        raise ProbeError("the broker refused the call")
    try:
        return Status(message[6] if message[5:6] == b"\x08" else 0)
    except (IndexError, ValueError):
        raise ProbeError("what answers there is no health service") from None


def _frames(connection: ssl.SSLSocket, deadline: float) -> Iterator[tuple[int, int, int, bytes]]:
    while True:
        head = _exactly(connection, 9, deadline)
        size = int.from_bytes(head[:3])
        if size > _LARGEST_FRAME:
            raise ProbeError("what answers there does not speak HTTP/2")
        yield head[3], head[4], int.from_bytes(head[5:]) & 0x7FFFFFFF, _exactly(connection, size, deadline)


def _exactly(connection: ssl.SSLSocket, size: int, deadline: float) -> bytes:
    read = b""
    while len(read) < size:
        # Many small pieces must not make the probe last longer than it may.
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        if not (piece := connection.recv(size - len(read))):
            raise ProbeError("the connection was closed")
        read += piece
    return read


def _request(host: str, port: int) -> bytes:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # HPACK (RFC 7541): indexed where the static table has name and value, and literals that are not to be kept.
    headers = (
        b"\x83\x87"  # :method POST, :scheme https
        + (b"\x04" + _text(_PATH))
        + (b"\x01" + _text(authority.encode()))
        + (b"\x0f\x10" + _text(b"application/grpc"))
        + (b"\x00" + _text(b"te") + _text(b"trailers"))
    )
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + _frame(_SETTINGS, 0, 0)
        + _frame(_HEADERS, _END_HEADERS, 1, headers)
        + _frame(_DATA, _END_STREAM, 1, bytes(5))  # An empty message: health of the whole server.
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _text(value: bytes) -> bytes:
    # Never longer than 126 bytes, which is what one byte of length can say: a host name of more is cut off.
    value = value[:126]
    return bytes((len(value),)) + value


def probe(config: Path | None, *, live: bool, timeout_seconds: float) -> int:
    """Prints how the broker is, and returns the exit code: 0 good, 1 not, 78 where the settings do not say where."""
    try:
        host, port = address_of(config, os.environ)
    except AddressError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201 (typer takes long to load)
        return EXIT_CONFIGURATION
    try:
        status = ask(host, port, timeout_seconds)
    except ProbeError as error:
        print(f"Error: {host} port {port}: {error}; is the broker running?", file=sys.stderr)  # noqa: T201
        return 1
    print(status.name)  # noqa: T201
    return 0 if live or status is Status.SERVING else 1


def probe_as_told(arguments: Sequence[str]) -> int:
    """Does what `valetkey-broker health` with `arguments` does, without loading the command line."""
    parser = argparse.ArgumentParser(prog="valetkey-broker health", add_help=False, allow_abbrev=False)
    parser.add_argument("--config", "-c", type=Path, default=os.environ.get(_CONFIG_ENV))
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT_SECONDS)
    given = parser.parse_args(arguments)
    return probe(Path(given.config) if given.config else None, live=given.live, timeout_seconds=given.timeout)
