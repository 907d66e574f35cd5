"""The client's wheel in a clean environment: a remote step installs it and nothing else."""

import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"
# All that the base install may bring along; typing-extensions is grpcio's.
EXPECTED = {"grpcio", "protobuf", "typing-extensions", "valetkey"}


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def locked(name: str) -> str:
    """Returns `name==version` as requirements/dev.txt pins it."""
    match = re.search(rf"^({name}==\S+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert match, f"{name} is not locked"
    return match[1]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment's interpreter, with the wheel and what the lock pins for it."""
    directory = tmp_path_factory.mktemp("wheel")
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", directory, CLIENT),
    )
    (wheel,) = directory.glob("valetkey-*.whl")
    pins = directory / "pins.txt"
    pins.write_text("\n".join(locked(name) for name in sorted(EXPECTED - {"valetkey"})))
    home = directory / "venv"
    venv.create(home, with_pip=False)
    interpreter = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet", "--constraint", pins, wheel)
    return interpreter


def test_the_base_install_is_grpcio_and_protobuf(python: Path) -> None:
    """Protects remote steps from a growing list of dependencies: these four distributions and no other."""
    listed = json.loads(run(sys.executable, "-m", "pip", "--python", python, "list", "--format=json"))
    assert {found["name"].replace("_", "-") for found in listed} == EXPECTED
    run(sys.executable, "-m", "pip", "--python", python, "check")


def test_the_client_works_without_the_extras(python: Path) -> None:
    """Protects the base install: the whole public API loads, and a call fails for want of a broker alone."""
    program = """
import valetkey
assert valetkey.Client and all(hasattr(valetkey, name) for name in valetkey.__all__)
with valetkey.Client("127.0.0.1:1", api_key=valetkey.generate_api_key()) as client:
    try:
        client.issue_token("az://models", ["read"])
    except valetkey.BrokerUnreachableError as error:
        print(type(error).__name__)
"""
    assert run(python, "-I", "-c", program) == "BrokerUnreachableError\n"


def test_the_command_says_which_extra_is_missing(python: Path) -> None:
    """Protects whoever types `valetkey` after the base install: one line and exit 2, no traceback."""
    done = subprocess.run(
        [python.with_name("valetkey"), "--help"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "install valetkey[cli]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_wheel_is_typed_and_carries_the_readme(python: Path) -> None:
    """Protects users' type checks and the page of the package index."""
    program = """
import importlib.metadata, importlib.resources
print(importlib.resources.files("valetkey").joinpath("py.typed").is_file())
print(len(importlib.metadata.metadata("valetkey").get_payload().strip()) > 100)
"""
    assert run(python, "-I", "-c", program) == "True\nTrue\n"
