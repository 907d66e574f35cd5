"""Settings that cannot work: exit 78 and a line for every problem, from check-config and from serve alike."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from support.broker_process import COMMAND, run, start, write_config
from valetkey_broker.errors import EXIT_CONFIGURATION
from valetkey_devstack.ca import make_ca

COMMANDS = [("check-config",), ("serve",), ("serve", "--workers", "2"), ("bootstrap",)]


def refused(ran: subprocess.CompletedProcess[str], *expected: str) -> None:
    """Holds that a command ended as a wrong configuration does: a clear line each, and nothing of Python's."""
    assert ran.returncode == EXIT_CONFIGURATION, ran.stderr
    assert "Traceback" not in ran.stderr + ran.stdout
    lines = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) >= len(expected)
    for words in expected:
        assert any(words in line for line in lines), ran.stderr


def test_check_config_ok(tmp_path: Path) -> None:
    """Good settings are said to be good, with what they mean, and nothing is started."""
    config = write_config(tmp_path)
    ran = run("check-config", "--config", config, installed=True)
    assert ran.returncode == 0
    assert ran.stderr == ""
    assert f"{config}: ok" in ran.stdout
    for words in ("TLS", "mount valetkey", "azure-china, azure-public, azure-us-government", "1 worker(s)"):
        assert words in ran.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_problem_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    """All problems come at once, each with its file, its setting and what was expected."""
    config = write_config(
        tmp_path,
        server={"port": 70000, "colour": "red"},
        vault={"address": "http://vault.example.com"},
        issuing={"default_ttl_seconds": 7200, "max_ttl_seconds": 3600},
    )
    ran = run(*command, "--config", config)
    refused(ran, "server.port: ", "server.colour: ", "vault.address: must be an https:// URL", "issuing: default_ttl")
    assert ran.stderr.count(str(config)) == 4
    assert ran.stdout == ""


@pytest.mark.parametrize("command", COMMANDS[:2], ids=" ".join)
def test_files_that_are_not_there(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A file that settings name and that is missing, or a directory, is named with its setting."""
    config = write_config(tmp_path, server={"tls_cert_file": tmp_path / "none.pem"}, vault={"secret_id_file": tmp_path})
    refused(
        run(*command, "--config", config),
        f"server.tls_cert_file: {tmp_path / 'none.pem'} does not exist",
        f"vault.secret_id_file: {tmp_path} is a directory",
    )


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read: No such file"), ("[server\n", "is not TOML"), ("", "server: ")]
)
def test_no_settings_at_all(tmp_path: Path, content: str | None, words: str) -> None:
    """A missing, broken or empty file is told as such."""
    config = tmp_path / "broker.toml"
    if content is not None:
        config.write_text(content)
    refused(run("serve", "--config", config), words)


def test_environment_is_part_of_the_configuration(tmp_path: Path) -> None:
    """The environment wins over the file, and its mistakes are found too."""
    config = write_config(tmp_path)
    ran = run("check-config", "--config", config, env={"VALETKEY_BROKER_SERVER__PORT": "12345"})
    assert "127.0.0.1:12345" in ran.stdout
    refused(
        run("serve", "--config", config, env={"VALETKEY_BROKER_SERVER__PORT": "0"}),
        "VALETKEY_BROKER_SERVER__PORT: server.port: ",
    )


def test_a_secret_that_everybody_can_read_is_told(tmp_path: Path) -> None:
    """check-config warns, on standard error, and the settings are good all the same."""
    config = write_config(tmp_path)
    (tmp_path / "secret_id").chmod(0o644)
    ran = run("check-config", "--config", config)
    assert ran.returncode == 0
    assert ran.stderr == (
        f"Warning: vault.secret_id_file: {tmp_path}/secret_id is open to every user of this machine; "
        f"run: chmod o-rwx {tmp_path}/secret_id\n"
    )
    assert f"{config}: ok" in ran.stdout


def test_ledger_whose_folder_is_missing(tmp_path: Path) -> None:
    """check-config does not say ok where no broker could record anything, and makes nothing."""
    config = write_config(tmp_path, ledger={"url": f"sqlite:///{tmp_path}/nowhere/ledger.db"})
    refused(run("check-config", "--config", config), f"there is no directory {tmp_path}/nowhere; make it")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["vault", "cloud", "issuer"])
@pytest.mark.parametrize("command", COMMANDS[:2], ids=" ".join)
def test_ca_files_without_a_ca(tmp_path: Path, command: tuple[str, ...], name: str) -> None:
    """A CA file that would be found to be none at the first connection stops the start, with its setting."""
    (tmp_path / "none.pem").write_text("no PEM\n")
    cloud = {"authority": "https://a", "blob_endpoint": "https://{account}.b", "ca_file": tmp_path / "none.pem"}
    sections = {
        "vault": {"vault": {"ca_file": tmp_path / "none.pem"}},
        "cloud": {"clouds.own": cloud},
        "issuer": {"authn": {}},
    }[name]
    config = write_config(tmp_path, **sections)
    if name == "issuer":
        with config.open("a") as file:
            file.write(f'[[authn.oidc]]\nissuer = "https://a"\naudience = "b"\nca_file = "{tmp_path}/none.pem"\n')
    setting = {"vault": "vault", "cloud": "clouds.own", "issuer": "authn.oidc.0"}[name]
    refused(run(*command, "--config", config), f"{setting}.ca_file: {tmp_path}/none.pem: holds no CA certificates")


def test_wrong_name_of_a_key_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    """`bootstrap --name` with blanks is told as such, not as a Vault that is away."""
    ran = run("bootstrap", "--config", write_config(tmp_path), "--name", "A B")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Error: name: ")


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str) -> None:
    """The version is there for both hands."""
    ran = run(option)
    assert (ran.returncode, ran.stdout.split()[0]) == (0, "valetkey-broker")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completes(shell: str) -> None:
    """The server's command completes like the client's."""
    asked = run("--show-completion", shell, env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert "_VALETKEY_BROKER_COMPLETE" in asked.stdout
    asked = run(
        env={
            "_VALETKEY_BROKER_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": "valetkey-broker check",
            "COMP_CWORD": "1",
            "_TYPER_COMPLETE_ARGS": "valetkey-broker check",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
    )
    assert "check-config" in asked.stdout


@pytest.mark.parametrize("command", [(), ("serve",), ("check-config",), ("bootstrap",)], ids=" ".join)
def test_help_has_a_short_form(command: tuple[str, ...]) -> None:
    """`-h` is what hands type first."""
    assert run(*command, "-h").stdout == run(*command, "--help").stdout != ""


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    """Output that cannot be written ends in one line, not in a traceback."""
    config = write_config(tmp_path)
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [COMMAND, "check-config", "--config", config], stdout=full, stderr=subprocess.PIPE, check=False, text=True
        )
    assert (ran.returncode, ran.stderr) == (1, "Error: cannot write: No space left on device\n")


@pytest.mark.parametrize(
    ("command", "broken"),
    [
        (("check-config",), "certificate"),
        (("check-config",), "key"),
        (("check-config",), "key of another"),
        (("serve",), "key"),
        (("serve", "--workers", "2"), "certificate"),
    ],
)
def test_certificate_and_key_that_cannot_be_used(tmp_path: Path, command: tuple[str, ...], broken: str) -> None:
    """Rubbish in place of certificate or key ends the whole broker, workers too, with the file and the reason."""
    config = write_config(tmp_path)
    if broken == "certificate":
        (tmp_path / "broker.pem").write_text("rubbish")
    elif broken == "key":
        (tmp_path / "broker.key").write_text("rubbish")
    else:
        (tmp_path / "other").mkdir()
        _, key = make_ca(tmp_path / "other").issue("broker", tmp_path / "other")
        (tmp_path / "broker.key").write_bytes(key.read_bytes())
    words = {
        "certificate": "broker.pem: is not a certificate",
        "key": "broker.key: is not a private key",
        "key of another": "broker.key: does not belong to the certificate",
    }
    ran = run(*command, "--config", config)
    refused(ran, words[broken])
    if "--workers" in command:
        assert "a worker cannot start; giving up" in ran.stdout


def test_key_with_a_passphrase_is_not_asked_for(tmp_path: Path) -> None:
    """A broker that waits at a prompt nobody sees would hang for ever; it says what is wrong instead."""
    config = write_config(tmp_path)
    key = serialization.load_pem_private_key((tmp_path / "broker.key").read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    (tmp_path / "broker.key").write_bytes(encrypted)
    refused(run("serve", "--config", config), "broker.key: is not a private key; expected PEM without a passphrase")


def test_address_that_is_not_of_this_machine(tmp_path: Path) -> None:
    """A host that cannot be listened on is not blamed on another broker."""
    config = write_config(tmp_path, server={"host": "192.0.2.1"})
    ran = run("serve", "--config", config)
    refused(ran, "cannot listen on 192.0.2.1:")
    assert "Cannot assign requested address" in ran.stderr
    assert "another valetkey-broker" not in ran.stderr


def test_usage(tmp_path: Path) -> None:
    """A wrong command line is a usage error, 2, and starts nothing."""
    config = write_config(tmp_path)
    assert run("serve", "--config", config, "--workers", "0").returncode == 2
    assert run("serve").returncode == 2
    assert run("swerve").returncode == 2
    assert start(config, "--no-such-option").process.wait(timeout=20) == 2
