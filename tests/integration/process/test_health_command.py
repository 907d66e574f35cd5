"""`valetkey-broker health`, which containers and pods run every few seconds, against brokers and against others."""

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.broker_process import run, serving, write_config
from valetkey_broker.cli.health_probe import AddressError, ProbeError, Status, address_of, ask
from valetkey_broker.settings import ServerSettings, make_settings, read_values
from valetkey_devstack.ca import make_ca
from valetkey_devstack.free_ports import free_port

# An HTTP/2 server's own settings; the headers of an answer; a message on stream 1; the trailers that end it.
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
HEADERS = b"\0\0\1\1\4\0\0\0\1\x88"
TRAILERS = b"\0\0\1\1\5\0\0\0\1\x88"


def message(body: bytes) -> bytes:
    """Returns a frame of data with one gRPC message."""
    payload = b"\0" + len(body).to_bytes(4) + body
    return len(payload).to_bytes(3) + b"\0\0\0\0\0\1" + payload


@contextlib.contextmanager
def answering(directory: Path, answer: bytes, *, tls: bool = True, stay: bool = False) -> Iterator[int]:
    """Gives the port of a server that sends `answer` to whoever connects, and hangs up unless it is to stay."""
    certificate, key = make_ca(directory).issue("server", directory)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    over = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True) if tls else plain as connection:
                connection.sendall(answer)
                if stay:
                    over.wait(60)
                else:
                    connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            server.join(60)


async def test_from_away_to_live(tmp_path: Path) -> None:
    """Nobody there is 1; a broker that waits for Vault is 1, too, for readiness, and 0 for liveness."""
    config = write_config(tmp_path)
    away = run("health", "--config", config)
    assert away.returncode == 1
    assert "Connection refused; is the broker running?" in away.stderr
    with serving(config) as broker:
        await broker.logged("listening")
        waiting = run("health", "--config", config, "--timeout", "60")
        assert (waiting.returncode, waiting.stdout, waiting.stderr) == (1, "NOT_SERVING\n", "")
        live = run("health", "--live", "--timeout", "60", env={"VALETKEY_BROKER_CONFIG": str(config)})
        assert (live.returncode, live.stdout) == (0, "NOT_SERVING\n")


@pytest.mark.parametrize(
    ("body", "status"), [(b"\x08\x01", Status.SERVING), (b"\x08\x02", Status.NOT_SERVING), (b"", Status.UNKNOWN)]
)
def test_answers(tmp_path: Path, body: bytes, status: Status) -> None:
    """What gRPC's health service says is understood, piece by piece, as servers send it."""
    with answering(tmp_path, SETTINGS + HEADERS + message(body) + TRAILERS) as port:
        assert ask("127.0.0.1", port, 60) is status


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (SETTINGS + TRAILERS, "refused the call"),
        (SETTINGS + b"\0\0\x08\7\0\0\0\0\0" + bytes(8), "took no call"),
        (SETTINGS + HEADERS + message(b"\x08\x09") + TRAILERS, "no health service"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(40), "does not speak HTTP/2"),
        (b"", "was closed"),
    ],
)
def test_others_that_answer(tmp_path: Path, answer: bytes, said: str) -> None:
    """Whatever else listens on the port is not taken for a broker that serves."""
    with answering(tmp_path, answer) as port, pytest.raises(ProbeError, match=said):
        ask("127.0.0.1", port, 60)


@pytest.mark.parametrize(("tls", "said"), [(True, "no answer within"), (False, "no TLS")])
def test_silence_and_plaintext(tmp_path: Path, tls: bool, said: str) -> None:
    """A hung process is told within the time, and a port without TLS at once."""
    hello = SETTINGS if tls else b"HTTP/1.0 200 OK\r\n"
    with answering(tmp_path, hello, tls=tls, stay=True) as port, pytest.raises(ProbeError, match=said):
        ask("127.0.0.1", port, 1 if tls else 60)


def test_where_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe asks where `serve` with the same file and environment listens."""
    assert address_of(None, {}) == (
        ServerSettings.model_fields["host"].default,
        ServerSettings.model_fields["port"].default,
    )
    config = write_config(tmp_path, server={"host": "127.0.0.2"})
    for given in (
        {},
        {"VALETKEY_BROKER_SERVER__PORT": "9443"},
        {"VALETKEY_BROKER_SERVER": '{"host": "127.0.0.3", "port": 1}', "VALETKEY_BROKER_SERVER__HOST": "127.0.0.4"},
    ):
        with monkeypatch.context() as environment:
            for name, value in given.items():
                environment.setenv(name, value)
            settings = make_settings(read_values(config), config).server
        assert address_of(config, given) == (settings.host, settings.port)
    for everywhere, own in (("0.0.0.0", "127.0.0.1"), ("::", "::1")):
        assert address_of(None, {"VALETKEY_BROKER_SERVER__HOST": everywhere})[0] == own


def test_settings_that_do_not_say_where(tmp_path: Path) -> None:
    """A missing file, a broken one and a port that is no number are told in a line, with the code of bad settings."""
    broken = tmp_path / "broken.toml"
    broken.write_text("[server")
    for config, given in ((tmp_path / "none.toml", {}), (broken, {}), (None, {"VALETKEY_BROKER_SERVER__PORT": "x"})):
        with pytest.raises(AddressError):
            address_of(config, given)
    said = run("health", "--config", broken)
    assert said.returncode == 78
    assert said.stderr.startswith(f"Error: {broken}: is not TOML")


def test_loads_next_to_nothing() -> None:
    """A probe that loaded gRPC, the settings or the command line would cost more than a small broker does."""
    program = (
        "import sys; sys.argv = ['valetkey-broker', 'health', '--timeout', '5']\n"
        "from valetkey_broker.__main__ import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code in (0, 1), end.code\n"
        "print(sorted({'grpc', 'pydantic', 'typer', 'structlog', 'valetkey_broker.errors'} & set(sys.modules)))"
    )
    environment = {"VALETKEY_BROKER_SERVER__PORT": str(free_port())}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[]\n"
