"""The command as a shell sees it: exit codes, errors, streams."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from support.children import start
from support.cli_runner import Runner
from support.fake_broker import API_KEY, Failure, FakeBroker, connector
from valetkey.v1 import errors_pb2 as errors_pb

LIST = ("service-connector", "list")
COMMAND = [sys.executable, "-c", "from valetkey.cli import main; main()"]


def environment(broker: FakeBroker, **more: str) -> dict[str, str]:
    found = {**os.environ, "VALETKEY_ENDPOINT": broker.endpoint, "VALETKEY_CA_FILE": str(broker.ca_file)}
    return {**found, "VALETKEY_API_KEY": API_KEY, **more}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 1),
        (grpc.StatusCode.FAILED_PRECONDITION, 1),
        (grpc.StatusCode.ALREADY_EXISTS, 1),
        (grpc.StatusCode.ABORTED, 1),
        (grpc.StatusCode.INTERNAL, 1),
        (grpc.StatusCode.UNAUTHENTICATED, 3),
        (grpc.StatusCode.PERMISSION_DENIED, 3),
        (grpc.StatusCode.NOT_FOUND, 4),
        (grpc.StatusCode.UNAVAILABLE, 5),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 5),
    ],
)
def test_exit_codes(status: grpc.StatusCode, code: int, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the documented exit codes, which scripts branch on."""
    broker.failures["ListConnectors"] = Failure(status, "no")
    ran = valetkey(*LIST)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("Error: no\n")


def test_an_error_says_when_to_come_back(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the second line of an error, and its form as JSON on standard error."""
    broker.failures["ListConnectors"] = Failure(
        grpc.StatusCode.UNAVAILABLE,
        "Vault is sealed",
        errors_pb.ERROR_REASON_VAULT_UNAVAILABLE,
        {"cause": "sealed"},
        "req-9",
        timedelta(seconds=5),
    )
    assert valetkey(*LIST).err == (
        "Error: Vault is sealed\nreason VAULT_UNAVAILABLE · request id req-9 · retry in 5s\n"
    )
    assert json.loads(valetkey(*LIST, "-o", "json").err) == {
        "error": {
            "message": "Vault is sealed",
            "reason": "VAULT_UNAVAILABLE",
            "code": "UNAVAILABLE",
            "metadata": {"cause": "sealed"},
            "request_id": "req-9",
            "retry_delay_seconds": 5.0,
        }
    }


def test_a_message_cannot_drive_the_terminal(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the terminal from control characters in what a broker, or what it quotes, says."""
    broker.failures["ListConnectors"] = Failure(grpc.StatusCode.INTERNAL, "a\x1b[2Jb\rc")
    assert valetkey(*LIST).err.startswith("Error: a\\x1b[2Jb\\rc\n")


def test_nothing_set_up(bare: Runner) -> None:
    """Protects the newcomer: what is missing, where to put it, exit 2."""
    ran = bare(*LIST)
    assert ran.code == 2
    assert ran.err.startswith("Error: no endpoint; expected HOST:PORT in --endpoint, in VALETKEY_ENDPOINT")


def test_an_unreachable_broker_is_worth_another_try(bare: Runner) -> None:
    """Protects scripts that retry: exit 5. Whoever waits is told at once what for, and once."""
    ran = bare("--endpoint", "127.0.0.1:1", "--api-key", API_KEY, *LIST)
    assert ran.code == 5
    warning, note, error = ran.err.splitlines()
    assert warning.startswith("Warning: --api-key")
    assert note.startswith("Note: cannot reach the broker at 127.0.0.1:1: ")
    assert note.endswith("; trying again")
    assert error.startswith("Error: cannot reach the broker at 127.0.0.1:1: ")


def test_an_untrusted_certificate_is_a_matter_of_settings(bare: Runner, broker: FakeBroker) -> None:
    """Protects scripts from retrying what cannot work: exit 2."""
    ran = bare("--endpoint", broker.endpoint, "--api-key", API_KEY, *LIST)
    assert ran.code == 2
    assert "is not signed by a CA this client trusts" in ran.err


def test_global_options(bare: Runner, broker: FakeBroker, tmp_path: object) -> None:
    """Protects flags over everything else, the underscored spellings included."""
    import pathlib

    key = pathlib.Path(str(tmp_path)) / "key"
    key.write_text(API_KEY + "\n")
    options = ("--endpoint", f"https://{broker.endpoint}", "--ca_file", str(broker.ca_file), "--api_key_file", str(key))
    assert bare(*options, "--timeout", "5s", *LIST, "-o", "json").json == []
    config = key.with_name("config.toml")
    config.write_text(f'endpoint = "{broker.endpoint}"\nca_file = "{broker.ca_file}"\napi_key_file = "key"\n')
    assert bare("--config", str(config), *LIST).code == 0


@pytest.mark.parametrize(("timeout", "says"), [("0", "out of range"), ("2h", "out of range"), ("x", "not a duration")])
def test_a_bad_timeout(timeout: str, says: str, valetkey: Runner) -> None:
    """Protects against calls without an end."""
    ran = valetkey("--timeout", timeout, *LIST)
    assert (ran.code, says in ran.err) == (2, True)


def test_a_slow_broker(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects --timeout: it ends a call, and the exit code says that another try makes sense."""
    broker.failures["ListConnectors"] = Failure(grpc.StatusCode.INTERNAL, "late", delay=60)
    ran = valetkey("--timeout", "1s", *LIST)
    assert (ran.code, "did not answer within 1 s" in ran.err) == (5, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("token", "isue"), "No such command 'isue'. Did you mean 'issue'?"),
        (("token", "issue"), "Missing option '--resource'"),
        (("service-connector", "describe"), "Missing argument 'NAME'"),
        (("service-connector", "list", "-o", "xml"), "Invalid value for '--output'"),
        (("service-connector", "list", "--bogus"), "No such option: --bogus"),
        (("service-connector", "describe", "\udcff"), "an argument is not text; expected UTF-8"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], says: str, bare: Runner) -> None:
    """Protects bad usage from looking like a refusal: one error line, exit 2."""
    ran = bare(*arguments)
    assert ran.code == 2
    assert ran.err.startswith(f"Error: {says}"), ran.err


@pytest.mark.parametrize("option", ["--endpoint", "--ca_file", "--timeout"])
def test_a_global_option_behind_the_command_is_told_its_place(option: str, bare: Runner) -> None:
    """Protects whoever puts it last, where most command lines take it; other unknown options get no such hint."""
    ran = bare("service-connector", "list", option, "x")
    name = option.replace("_", "-")
    assert ran.code == 2
    assert ran.err.startswith(
        f"Error: No such option: {name}; it is an option of valetkey itself and stands before the command: "
        f"valetkey {name} … COMMAND\n"
    )
    assert "before the command" not in bare("service-connector", "list", "--bogus").err


def test_bad_usage_as_json(bare: Runner) -> None:
    """Protects scripts that parse standard error, even before the arguments are understood."""
    assert "Missing option" in json.loads(bare("token", "issue", "-o", "json").err)["error"]["message"]
    assert "error" in json.loads(bare("token", "issue", "--output=json").err)


@pytest.mark.parametrize("arguments", [(), ("token",), ("api-key",)])
def test_a_group_alone_shows_its_help(arguments: tuple[str, ...], bare: Runner) -> None:
    """Protects whoever explores: help, and exit 2, for nothing was done."""
    ran = bare(*arguments)
    assert ran.code == 2
    assert "Usage: valetkey" in ran.out + ran.err


def test_help_lists_the_exit_codes(bare: Runner) -> None:
    """Protects the promise that --help documents them."""
    ran = bare("--help")
    assert ran.code == 0
    assert "Exit codes: 0 ok" in ran.out
    assert bare("--version").out.startswith("valetkey 0.")


def test_every_command_has_output(bare: Runner) -> None:
    """Protects "every command has -o json" against the next command that is added."""
    from typer.main import get_command

    from valetkey.cli.app import app

    found = dict(get_command(app).commands)  # type: ignore[attr-defined]
    assert found.pop("export").params == []  # Its output is a file, of YAML, that `apply` reads.
    found.pop("exec")  # Its output is that of the command it runs.
    found.pop("agent")  # Its output are files; its log is JSON.
    # A command may stand by itself, without a group.
    commands = [command for each in found.values() for command in getattr(each, "commands", {"": each}).values()]
    assert len(commands) >= 10
    for command in commands:
        (option,) = [param for param in command.params if "-o" in param.opts]
        assert option.opts == ["--output", "-o"]


def test_a_defect_is_one_line_without_details(
    valetkey: Runner, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects secrets in the text of exceptions nobody thought of, and people from tracebacks."""
    from valetkey import Client

    def broken(_: Client, **_options: object) -> None:
        raise RuntimeError("PLANTED secret")

    monkeypatch.setattr(Client, "list_connectors", broken)
    ran = valetkey(*LIST)
    assert (ran.code, ran.err) == (
        1,
        "Error: unexpected RuntimeError: this is a defect of valetkey; please report it\n",
    )


def test_interrupted(broker: FakeBroker) -> None:
    """Protects Ctrl-C: exit 130 and no traceback."""
    broker.failures["ListConnectors"] = Failure(grpc.StatusCode.INTERNAL, "late", delay=60)
    process = start([*COMMAND, *LIST], env=environment(broker), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not broker.requests and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, b"")


def test_a_reader_that_leaves_early(broker: FakeBroker) -> None:
    """Protects `valetkey … | head`: no traceback when the pipe closes."""
    broker.page_size = 500
    broker.connectors = {f"c{number}": connector(f"c{number}") for number in range(500)}
    read, write = os.pipe()
    process = start([*COMMAND, *LIST], env=environment(broker), stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    os.close(read)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (1, b"")


@pytest.mark.parametrize(
    ("redirection", "says"),
    [
        (">/dev/full", "Error: the output: cannot be written: No space left on device\n"),
        (">&-", "Error: standard output is closed; expected somewhere to write the result to\n"),
        (">/dev/full 2>&1", ""),
        (">&- 2>&-", ""),
    ],
)
def test_output_that_cannot_be_written(redirection: str, says: str, broker: FakeBroker) -> None:
    """Protects scripts on a full disk: exit 1 and a plain line, never the report of a defect."""
    words = shlex.join([*COMMAND, *LIST])
    done = subprocess.run(
        ["bash", "-c", f"{words} {redirection}"],
        env=environment(broker),
        capture_output=True,
        check=False,
        timeout=30,
        text=True,
    )
    assert (done.returncode, done.stderr) == (1, says)


def test_a_key_that_cannot_be_kept_is_not_admitted(broker: FakeBroker, tmp_path: Path) -> None:
    """Protects against a live key that nobody has, and an empty file in its place, when the disk is full."""
    words = shlex.join([*COMMAND, "api-key", "create", "k", "--role", "viewer", "--out", str(tmp_path / "key")])
    env = environment(broker, COVERAGE_PROCESS_START="", COVERAGE_PROCESS_CONFIG="")  # the limit is for every file
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 0; {words}"], env=env, capture_output=True, check=False, timeout=30, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: --out: {tmp_path / 'key'} cannot be written: File too large")
    assert not (tmp_path / "key").exists()
    assert broker.requests == []


def test_a_terminal_without_utf8(broker: FakeBroker) -> None:
    """Protects servers without a locale: the table comes in ASCII."""
    broker.connectors = {"a": connector("a")}
    env = environment(broker, PYTHONIOENCODING="ascii", LC_ALL="C")
    done = subprocess.run([*COMMAND, *LIST], env=env, capture_output=True, check=True, timeout=30)
    assert b"| a" in done.stdout
    assert done.stdout.isascii()


def test_no_grpc_noise_on_standard_error(bare: Runner, broker: FakeBroker) -> None:
    """Protects standard error from log lines of gRPC's core, which mean nothing to people."""
    env = {**environment(broker), "VALETKEY_CA_FILE": ""}
    done = subprocess.run([*COMMAND, *LIST], env=env, capture_output=True, check=False, timeout=30, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: the certificate of ")
    assert done.stderr.count("\n") == 1
