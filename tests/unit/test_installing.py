"""What `make install` promises: it works with older pips too, and an installing that failed does not pass for one."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[([^]]*)\])?==", re.MULTILINE)
_PREREQUISITES = (
    "requirements/dev.txt",
    "pyproject.toml",
    "clients/python/pyproject.toml",
    "clients/console/pyproject.toml",
    "devstack/pyproject.toml",
    "devstack/src/valetkey_devstack/azurite_npm/package-lock.json",
)
# The tests may themselves have been started by make, whose variables would make these say more.
_AS_A_USER = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}


def locked() -> dict[str, set[str]]:
    """Returns what the lock file pins, with the extras it names."""
    pins = _PINNED.findall((ROOT / "requirements/dev.txt").read_text())
    return {str(canonicalize_name(name)): set(extras.replace(" ", "").split(",")) - {""} for name, extras in pins}


def asked_with_extras(pins: dict[str, set[str]]) -> Iterator[tuple[str, str, set[str]]]:
    """Yields who asks for what with which extras, among what the lock pins and this machine needs."""
    for distribution in distributions():
        name = str(canonicalize_name(distribution.metadata["Name"]))
        for text in distribution.requires or () if name in pins else ():
            wanted = Requirement(text)
            asks = wanted.marker is None or any(wanted.marker.evaluate({"extra": e}) for e in ("", *pins[name]))
            if wanted.extras and asks:
                yield name, str(canonicalize_name(wanted.name)), {str(canonicalize_name(e)) for e in wanted.extras}


def test_the_lock_names_every_extra_that_is_asked_for() -> None:
    """Older pips take the newest release, which has no hash here, of what is asked for with extras the lock omits."""
    pins = locked()
    found = list(asked_with_extras(pins))
    assert found
    missing = [
        f"{by} asks for {what}{sorted(extras)}" for by, what, extras in found if not extras <= pins.get(what, set())
    ]
    assert not missing


STEPS = {
    "making .venv": "python",
    "uv": "pip: install --require-hashes -r build/uv.txt",
    "the locked packages": "uv: pip install --python .venv --require-hashes -r requirements/dev.txt",
    "our own packages": "pip: install --no-deps --no-build-isolation "
    "-e . -e devstack -e clients/python -e clients/console",
    "the dev stack": "valetkey-broker: dev --prepare",
}
# What is done where uv cannot.
_BY_PIP = "pip: install --require-hashes -r requirements/dev.txt"


def install(directory: Path, *failing: str) -> subprocess.CompletedProcess[str]:
    """Runs `make install` in `directory` with programs that do nothing, of which those called as in `failing` fail."""
    for name in _PREREQUISITES:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()
    shutil.copy(ROOT / "Makefile", directory)
    programs = directory / ".venv/bin"
    programs.mkdir(parents=True)
    cases = "".join(f'"{call}") exit 1;;\n' for call in failing)
    script = f'#!/bin/sh\necho "${{0##*/}}: $*"\ncase "${{0##*/}}: $*" in\n{cases}esac\n'
    for name in ("python", "pip", "uv", "valetkey-broker", "postgres", "promtool", "prometheus"):
        if name in failing:
            continue
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    environment = {**_AS_A_USER, "PATH": f"{programs}:{os.environ['PATH']}"}
    # A Python that passes for new enough, and makes no .venv.
    python = directory / "python"
    python.write_text('#!/bin/sh\ntest "$1" = -c\n')
    python.chmod(0o755)
    command = ["make", "install", f"PYTHON={python}"]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("step", [step for step in STEPS if step not in ("uv", "the locked packages")])
def test_a_step_that_fails_ends_the_installing(tmp_path: Path, step: str) -> None:
    """Whichever step it is: make fails, says so with what the step said, and installs again the next time."""
    ran = install(tmp_path, STEPS[step])
    assert ran.returncode != 0
    assert "make: installing failed; the whole story is in build/install.log" in ran.stdout
    assert not (tmp_path / ".venv/.installed").exists()
    said = [line for line in (tmp_path / "build/install.log").read_text().splitlines() if line]
    assert said[-1:] == ([] if STEPS[step] == "python" else [STEPS[step]])
    assert all(line in ran.stdout for line in said)


@pytest.mark.parametrize("step", ["uv", "the locked packages"])
@pytest.mark.parametrize("pip_can", [True, False])
def test_where_uv_cannot_pip_installs(tmp_path: Path, step: str, *, pip_can: bool) -> None:
    """A mirror that only pip's own settings name is enough; where pip cannot either, the installing fails."""
    ran = install(tmp_path, STEPS[step], *(() if pip_can else (_BY_PIP,)))
    assert (ran.returncode == 0) is pip_can
    assert (tmp_path / ".venv/.installed").exists() is pip_can
    log = (tmp_path / "build/install.log").read_text().splitlines()
    assert log[log.index(STEPS[step]) + 1] == _BY_PIP
    assert log[-1] == (STEPS["the dev stack"] if pip_can else _BY_PIP)


def test_uv_comes_with_its_hashes(tmp_path: Path) -> None:
    """What is cut out of the lock file for pip is its whole entry of uv, and nothing of the next one."""
    install(tmp_path)
    shutil.copy(ROOT / "requirements/dev.txt", tmp_path / "requirements")
    (tmp_path / ".venv/.packages").unlink()
    subprocess.run(["make", "install"], cwd=tmp_path, env=_AS_A_USER, capture_output=True, check=True)
    first, *hashes = (tmp_path / "build/uv.txt").read_text().splitlines()
    assert re.fullmatch(r"uv==\S+ \\", first)
    assert hashes
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in hashes)
    assert (tmp_path / "build/uv.txt").read_text().rstrip() in (ROOT / "requirements/dev.txt").read_text()


def test_an_installing_that_works(tmp_path: Path) -> None:
    """Each step is named as it begins, for it takes minutes, with nothing between; the next time there are none."""
    ran = install(tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    first, *steps = ran.stdout.splitlines()
    assert first.startswith("Installing into .venv (about a minute")
    assert [step.split()[0] for step in steps] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    again = subprocess.run(
        ["make", "install"], cwd=tmp_path, env=_AS_A_USER, capture_output=True, text=True, check=True
    )
    assert "1/5" not in again.stdout
    assert (tmp_path / ".venv/.installed").exists()
    assert (tmp_path / "build/install.log").read_text().splitlines() == list(STEPS.values())[1:]
