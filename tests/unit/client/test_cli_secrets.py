"""Where the command line takes a client secret from, and that it never shows it."""

import io
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.children import start
from support.cli_runner import Runner
from support.fake_broker import API_KEY, FakeBroker
from valetkey.cli.confirmation import confirm
from valetkey.cli.screen import Screen

SECRET = "PLANTED~client.secret"
REGISTER = ("service-connector", "register", "demo", "--tenant-id", "t-1", "--client-id", "c-1")


def sent(broker: FakeBroker) -> str:
    (request,) = broker.requests
    return str(request.azure_secret.client_secret)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_a_file_and_its_line_break(ending: str, valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects the secret from the line break that editors add, and says what was done."""
    path = tmp_path / "secret.txt"
    path.write_bytes(f"{SECRET}{ending}".encode())
    ran = valetkey(*REGISTER, "--client-secret", f"@{path}")
    assert (ran.code, sent(broker)) == (0, SECRET)
    note = f"Note: client secret: the line break at the end of {path} was left out\n"
    assert ran.err == (note if ending else "")


def test_a_byte_order_mark_is_no_part_of_a_secret(valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects those whose editor writes one."""
    path = tmp_path / "secret.txt"
    path.write_bytes(b"\xef\xbb\xbf" + SECRET.encode())
    assert valetkey(*REGISTER, "--client-secret", f"@{path}").code == 0
    assert sent(broker) == SECRET


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no file"),
        (b"", "is empty; expected one line"),
        (b"\n", "is empty"),
        (b"  \n", "is empty"),
        (b"one\ntwo\n", "holds control characters or several lines"),
        (b"nul\x00", "holds control characters"),
        (b"\xff\xfes\x00e\x00", "is not text; expected one line of UTF-8"),
        (b"x" * 70_000, "holds over 65536 bytes"),
    ],
)
def test_a_file_that_holds_no_secret(
    content: bytes | None, says: str, valetkey: Runner, broker: FakeBroker, tmp_path: Path
) -> None:
    """Protects against registering rubbish; the message names the file and shows nothing of it."""
    path = tmp_path / "secret.txt"
    if content is not None:
        path.write_bytes(content)
    ran = valetkey(*REGISTER, "--client-secret", f"@{path}")
    assert ran.code == 2
    assert ran.err.startswith("Error: client secret: ")
    assert says in ran.err
    assert str(path) in ran.err
    assert broker.requests == []


@pytest.mark.parametrize(
    ("value", "says"),
    [("@", "is a directory"), ("@/", "is a directory"), ("@/dev/zero", "holds over"), ("", "the value given is empty")],
)
def test_what_is_no_file_either(value: str, says: str, valetkey: Runner) -> None:
    """Protects against directories, endless devices and an empty word."""
    ran = valetkey(*REGISTER, "--client-secret", value)
    assert (ran.code, says in ran.err) == (2, True), ran.err


def test_standard_input(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects `… | valetkey … --client-secret -`."""
    ran = valetkey(*REGISTER, "--client-secret", "-", stdin=f"{SECRET}\n".encode())
    assert (ran.code, sent(broker)) == (0, SECRET)
    assert "the line break at the end of standard input was left out" in ran.err
    assert valetkey(*REGISTER, "--client-secret", "-").code == 2


def test_the_environment(valetkey: Runner, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects CI jobs, which have their secrets in the environment."""
    monkeypatch.setenv("VALETKEY_CLIENT_SECRET", SECRET)
    ran = valetkey(*REGISTER)
    assert (ran.code, sent(broker), ran.err) == (0, SECRET, "")


def test_no_secret_and_nobody_to_ask(valetkey: Runner) -> None:
    """Protects a script from waiting for a prompt that nobody sees."""
    ran = valetkey(*REGISTER)
    assert ran.code == 2
    assert ran.err.startswith("Error: no client secret; expected --client-secret @FILE, --client-secret - ")


def test_a_literal_works_and_warns(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects whoever does not know about process lists, without repeating the secret."""
    ran = valetkey(*REGISTER, "--client-secret", SECRET)
    assert (ran.code, sent(broker)) == (0, SECRET)
    assert ran.err.startswith("Warning: --client-secret on the command line: other users of this machine can see it")
    assert SECRET not in ran.out + ran.err
    as_json = valetkey(*REGISTER, "--client-secret", SECRET, "-o", "json")
    assert as_json.err.startswith('{"warning": "--client-secret')
    assert as_json.json["connector"]["name"] == "demo"


def test_an_api_key_on_the_command_line_warns_too(
    valetkey: Runner, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the API key the same way."""
    monkeypatch.delenv("VALETKEY_API_KEY")
    ran = valetkey("--api-key", API_KEY, "service-connector", "list")
    assert ran.code == 0
    assert ran.err.startswith("Warning: --api-key on the command line")
    assert API_KEY not in ran.err


def at_terminal(broker: FakeBroker, typed: bytes, waits_for: bytes, *arguments: str) -> tuple[int, str, str]:
    """Runs the command at a terminal, types, and returns exit code, standard output and what the terminal showed."""
    leader, follower = pty.openpty()
    env = {**os.environ, "VALETKEY_ENDPOINT": broker.endpoint, "VALETKEY_CA_FILE": str(broker.ca_file)}
    env["VALETKEY_API_KEY"] = API_KEY
    process = start(
        [sys.executable, "-c", "from valetkey.cli import main; main()", *arguments],
        stdin=follower,
        stderr=follower,
        stdout=subprocess.PIPE,
        env=env,
        start_new_session=True,
    )
    os.close(follower)
    killer = threading.Timer(30, process.kill)
    killer.start()
    shown = b""
    try:
        while waits_for not in shown:
            shown += os.read(leader, 4096)
        os.write(leader, typed)
        out, _ = process.communicate()
        while True:
            try:
                shown += os.read(leader, 4096)
            except OSError:
                break
    finally:
        killer.cancel()
        os.close(leader)
    return process.returncode, out.decode(), shown.decode()


@pytest.mark.parametrize("arguments", [(), ("--client-secret", "-")])
def test_a_hidden_prompt(arguments: tuple[str, ...], broker: FakeBroker) -> None:
    """Protects the secret from the screen: it is asked for at a terminal and not echoed."""
    code, out, shown = at_terminal(broker, SECRET.encode() + b"\n", b"(not shown): ", *REGISTER, *arguments)
    assert (code, sent(broker)) == (0, SECRET)
    assert SECRET not in shown + out
    assert "Successfully registered" in out


@pytest.mark.parametrize(("typed", "code", "gone"), [(b"y\n", 0, True), (b"\n", 2, False), (b"\x04", 2, False)])
def test_delete_asks_at_a_terminal(typed: bytes, code: int, gone: bool, broker: FakeBroker) -> None:
    """Protects a connector from a slip of the hand: only a yes deletes."""
    from support.fake_broker import connector

    broker.connectors = {"a": connector("a")}
    returned, _, shown = at_terminal(broker, typed, b"[y/N] ", "service-connector", "delete", "a")
    assert (returned, "Delete service connector a for good? [y/N]" in shown) == (code, True)
    assert ("a" not in broker.connectors) is gone


@pytest.mark.parametrize(("for_good", "asked"), [(True, "Revoke x for good? [y/N] "), (False, "Revoke x? [y/N] ")])
def test_what_can_be_taken_back_is_not_called_for_good(
    for_good: bool, asked: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A revocation, say, can be lifted."""
    terminal = io.StringIO("y\n")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    confirm(Screen(as_json=False), "revoke x", "until it is lifted", yes=False, for_good=for_good)
    assert capsys.readouterr().err.endswith(asked)
