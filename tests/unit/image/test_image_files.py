"""The Dockerfile and what goes with it, without an engine: what `make image` promises, as far as text tells it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# One instruction a line.
INSTRUCTIONS = [line for line in re.sub(r"\\\n\s*", " ", DOCKERFILE).splitlines() if line and not line.startswith("#")]
LAST_STAGE = INSTRUCTIONS[max(number for number, line in enumerate(INSTRUCTIONS) if line.startswith("FROM ")) :]


def said(instruction: str) -> list[str]:
    """Returns what the last stage says by an instruction."""
    return [line.partition(" ")[2] for line in LAST_STAGE if line.startswith(f"{instruction} ")]


def pinned(lock: str) -> dict[str, str]:
    """Returns the versions of a lock file, by name."""
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    found = re.findall(r"^([a-zA-Z0-9._-]+)(?:\[[^]]*\])?==(\S+)", text, re.MULTILINE)
    return {name.lower(): version for name, version in found}


def test_each_stage_is_on_the_base_that_can_be_pinned() -> None:
    """`--build-arg PYTHON_IMAGE=python@sha256:…` counts for both stages, whose Python has to be the same."""
    bases = [line.split()[1] for line in INSTRUCTIONS if line.startswith("FROM ")]
    assert INSTRUCTIONS[0].startswith("ARG PYTHON_IMAGE=python:3.11-")
    assert bases == ["${PYTHON_IMAGE}"] * 2


def test_who_it_runs_as_and_how_it_ends() -> None:
    """A numeric user, for `runAsNonRoot` cannot judge names; the broker itself as first process, which gets signals."""
    assert said("USER") == ["10001:10001"]
    assert said("ENTRYPOINT") == ['["valetkey-broker"]']
    assert said("CMD") == ['["serve"]']
    (health,) = said("HEALTHCHECK")
    assert health.endswith('CMD ["valetkey-broker", "health"]')
    values = yaml.safe_load((ROOT / "helm" / "valetkey" / "values.yaml").read_text())
    assert values["image"]["repository"] == "valetkey-broker"
    helpers = (ROOT / "helm" / "valetkey" / "templates" / "_helpers.tpl").read_text()
    assert '"runAsUser" 10001 "runAsGroup" 10001' in helpers


def test_what_is_installed_is_locked() -> None:
    """Everything from an index is pinned by hash, and is what the tests have."""
    installs = [part for line in INSTRUCTIONS for part in line.split("&&") if re.search(r"\bpip install\b", part)]
    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes" in install or "--no-deps" in install
        assert "--no-cache" in install
    tested = pinned("dev")
    for lock in ("broker", "image"):
        assert pinned(lock).items() <= tested.items(), "run: make lock"
        text = (ROOT / f"requirements/{lock}.txt").read_text()
        assert "--hash=sha256:" in text
        assert "https://" not in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = {
        Requirement(each).name for each in (*project["dependencies"], *project["optional-dependencies"]["postgres"])
    }
    assert {name.lower() for name in needs} - {"valetkey"} <= pinned("broker").keys(), "run: make lock"
    assert "pytest" not in pinned("broker")


def test_the_context_holds_what_is_copied_and_no_secrets() -> None:
    """.dockerignore lets in what COPY names, and nothing else that may lie about in a working copy."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    admitted = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        name
        for line in INSTRUCTIONS
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    }
    assert copied == admitted
    assert all((ROOT / name).exists() for name in admitted)


def test_the_version_is_the_distributions() -> None:
    """The label, the chart's appVersion and the wheel do not differ."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"ARG VERSION={version}" in LAST_STAGE
    chart = yaml.safe_load((ROOT / "helm" / "valetkey" / "Chart.yaml").read_text())
    assert chart["appVersion"] == version


@pytest.mark.parametrize("needed", ["User=valetkey", "CapabilityBoundingSet=", "RestartPreventExitStatus=78"])
def test_the_unit_of_systemd(needed: str) -> None:
    """The page's unit runs as a user of its own, without rights, and does not start wrong settings again and again."""
    page = (ROOT / "docs" / "deploy-container.md").read_text(encoding="utf-8")
    unit = page.split("```ini\n")[1].split("```")[0]
    assert needed in unit.splitlines()
