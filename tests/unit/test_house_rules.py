"""What the repository promises about itself."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BROKER = ROOT / "broker/src/valetkey_broker"
CLIENT = ROOT / "clients/python/src/valetkey"


def tracked_files() -> list[Path]:
    """Returns the files of the repository, as git has them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_layer_rule_names_every_module_of_the_client() -> None:
    """Protects the rule that the broker takes only `valetkey.v1`: a new client module must be on its list."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rule,) = [c for c in contracts if c["name"].startswith("the broker takes only")]
    names = {path.relative_to(CLIENT).parts[0] for path in tracked_files() if CLIENT in path.parents}
    modules = {f"valetkey.{name.removesuffix('.py')}" for name in names - {"v1", "__init__.py", "py.typed"}}
    assert set(rule["forbidden_modules"]) == modules


@pytest.mark.parametrize(
    ("rule", "free"),
    [
        ("only rpc/ and api/ speak gRPC", {"rpc", "api"}),
        ("only adapters/ speak Azure, Vault and HTTP", {"adapters"}),
    ],
)
def test_import_rules_name_every_module_of_the_broker(rule: str, free: set[str]) -> None:
    """Protects the rules on who may import what: a new module of the broker that no list names would escape them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [contract for contract in contracts if contract["name"] == rule]
    named = {name.removeprefix("valetkey_broker.") for name in contract["source_modules"]} - {"valetkey_devstack"}
    modules = {
        path.relative_to(BROKER).parts[0].removesuffix(".py") for path in tracked_files() if BROKER in path.parents
    }
    assert named == modules - free - {"__init__"}


@pytest.mark.parametrize("lock", ["requirements/clients.txt", "requirements/dev.txt", "requirements/proto.txt"])
def test_python_lock_files_carry_hashes_and_no_registry(lock: str) -> None:
    """Protects that the same bytes are installed everywhere, from whichever registry a machine uses."""
    text = (ROOT / lock).read_text()
    assert "http://" not in text
    assert "https://" not in text
    for line in filter(None, text.splitlines()):
        assert "==" in line or line.startswith((" ", "#")), line
    assert text.count("==") > 0
    assert "--hash=sha256:" in text


def test_no_file_names_a_registry_host() -> None:
    """Protects that nothing in the repository ties it to one registry or machine."""
    hosts = ["pypi" + ".org", "python" + "hosted.org", "registry.npm" + "js.org", "deb.deb" + "ian.org"]
    found = {
        f"{path.relative_to(ROOT)}: {host}"
        for path in tracked_files()
        for host in hosts
        if host.encode() in path.read_bytes()
    }
    assert not found


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "clients/console/README.md"])
def test_pages_for_contributors_name_what_there_is(page: str) -> None:
    """Protects whoever looks for a place: each folder and module that these pages name is somewhere in the tree."""
    there = "\n".join(f"/{path.relative_to(ROOT)}" for path in tracked_files())
    named = set(re.findall(r"`([\w./-]+(?:\.py|/))`", (ROOT / page).read_text()))
    missing = {name for name in named if f"/{name}" not in there and "SECTION" not in name}
    assert (len(named) > 5, missing) == (True, set())


@pytest.mark.xdist_group("together")
def test_groups_of_tests_stay_together(request: pytest.FixtureRequest) -> None:
    """Protects that tests which share a server run in one process: workers know a group by the end of the test's id."""
    in_parallel = hasattr(request.config, "workerinput")
    assert request.node.nodeid.endswith("@together") == in_parallel


def test_no_test_holds_a_stopwatch_itself() -> None:
    """Protects tests from busy machines: whatever has to come at once is held against `support.stopwatch`."""
    stopwatch = re.compile(r"assert .*(monotonic|perf_counter|time)\(\) - \w+ <=? *[0-9]")
    found = {
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked_files()
        if path.suffix == ".py" and "tests" in path.parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if stopwatch.search(line)
    }
    assert not found


def test_no_source_file_outgrows_its_room() -> None:
    """Protects readability: one file, one purpose, at most 300 lines."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked_files()
        if path.suffix == ".py" and "/v1/" not in str(path) and "tests/" not in str(path)
        if (lines := len(path.read_text().splitlines())) > 300
    }
    assert not long


def test_errors_are_built_in_one_place() -> None:
    """Protects that a reason always says the same, with the same metadata: `valetkey_broker.errors` builds them all."""
    source = ROOT / "broker/src/valetkey_broker"
    built = {
        f"{path.relative_to(source)}:{number}"
        for path in tracked_files()
        if path.suffix == ".py" and path.is_relative_to(source) and not path.is_relative_to(source / "errors")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\b(BrokerError|UnrecordedOutcomeError)\(", line)
        if not line.startswith("class ")
    }
    assert not built


def test_the_chart_knows_all_settings() -> None:
    """Protects who deploys: Helm would refuse, under `config`, a setting that the chart's schema does not have."""
    command = [sys.executable, ROOT / "helm" / "generate.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
