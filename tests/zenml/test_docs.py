"""What docs/zenml.md has people type, typed: with ZenML's own command and ours, against one stack."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import pytest

from support.background import in_background
from support.cli_runner import Ran
from support.e2e import CONNECTOR, DEMO, Cli
from support.leaks import found_in
from support.oidc import IssuerServer
from support.stack import running_stack
from support.zenml import ZenML

if TYPE_CHECKING:
    from valetkey_devstack.stack import DevStack


pytestmark = [pytest.mark.xdist_group("zenml"), pytest.mark.unmeasured, pytest.mark.timeout(600)]
PAGE = (Path(__file__).parents[2] / "docs" / "zenml.md").read_text()
# Those of blocks: in the text, a command stands amid a line.
COMMANDS = re.findall(r"^(?:zenml|valetkey) .*$", PAGE, re.MULTILINE)
# All that a component can do with an artifact, and what came of it.
TRY = """
import json, pathlib, sys
from zenml.client import Client

store = Client().active_stack.artifact_store
path = f"{store.path}/{sys.argv[1]}"

def attempt(what):
    try:
        what()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "done"

def write():
    with store.open(path, "wb") as file:
        file.write(b"artifact")

def read():
    with store.open(f"{store.path}/shared", "rb") as file:
        assert file.read() == b"artifact"

pathlib.Path(sys.argv[2]).write_text(json.dumps({
    "write": attempt(write),
    "read": attempt(read),
    "list": attempt(lambda: store.listdir(store.path)),
    "delete": attempt(lambda: store.remove(path)),
}))
"""

# Types lines, and says how each ended.
LINES = """
import json, pathlib, sys
from click.testing import CliRunner
from zenml_cli import cli

def typed(line):
    ran = CliRunner().invoke(cli, line)
    return ran.exit_code, f"{ran.output}{ran.exception or ''}"

answers = [typed(line) for line in json.loads(sys.argv[1])]
pathlib.Path(sys.argv[2]).write_text(json.dumps(answers))
"""
SETTINGS = """
[[authn.oidc]]
issuer = "{issuer}"
audience = "valetkey"
ca_file = "issuer/ca.pem"
"""


@dataclass(frozen=True)
class Page:
    """A running dev stack with an issuer of pods' tokens, as the page takes for granted."""

    stack: "DevStack"
    issuer: IssuerServer
    admin: Cli
    folder: Path
    secrets: dict[str, str]

    @property
    def way(self) -> dict[str, str]:
        """Where the broker is, as the environment says it."""
        return {name: self.admin.environment[name] for name in ("VALETKEY_ENDPOINT", "VALETKEY_CA_FILE")}

    def principal(self, account: str) -> str:
        """Returns the principal that the token of a pod with this service account makes."""
        return f"oidc:{self.issuer.url}#system:serviceaccount:ml:{account}"

    def identity(self, account: str) -> dict[str, str]:
        """Returns the environment of such a pod: the file with its projected token, and nothing else."""
        file = self.folder / f"{account}.token"
        file.write_text(self.issuer.mint(sub=f"system:serviceaccount:ml:{account}"))
        file.chmod(0o600)
        return {"VALETKEY_TOKEN_FILE": str(file)}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Runs all of it."""
    from valetkey_devstack.broker_process import start_broker
    from valetkey_devstack.demo_data import add_demo_data

    folder = tmp_path_factory.mktemp("page")
    issuer = IssuerServer(folder / "issuer")
    settings = folder / "pods.toml"
    settings.write_text(SETTINGS.format(issuer=issuer.url))
    with in_background(issuer.running(), "issuer"), running_stack(folder / "stack", extra_settings=settings) as running:
        stack = running.stack
        files = running.call(add_demo_data(stack))
        broker = running.call(start_broker(stack))
        environment = {
            "VALETKEY_ENDPOINT": f"127.0.0.1:{stack.ports.broker}",
            "VALETKEY_CA_FILE": str(stack.ca_file),
            "VALETKEY_API_KEY_FILE": str(files.admin_key),
            "HOME": str(folder),
        }
        secrets = {file.name: file.read_text().strip() for file in (files.client_secret, files.account_key)}
        try:
            yield Page(stack, issuer, Cli(environment), folder, secrets)
        finally:
            running.call(broker.stop(grace=15))


@dataclass(frozen=True)
class Typed:
    """The page, typed: what each line said, and the user who typed it."""

    user: ZenML
    said: dict[str, Ran]


@pytest.fixture(scope="module")
def typed(page: Page) -> Typed:
    """Types each line of the page in its order; one that fails fails all."""
    page.admin.done(
        *("grant", "create", "readers", "--principal", page.principal("reader"), "--connector", CONNECTOR),
        *("--container", DEMO.removeprefix("az://"), "--role", "step-operator"),
    )
    directory = page.folder / "reader"
    directory.mkdir()
    user = ZenML(directory, {**page.way, **page.identity("reader")})
    variables = {**user.environment, "ISSUER": page.issuer.url}
    said = {}
    for line in COMMANDS:
        command, *words = shlex.split(Template(line).substitute(variables))
        if words[:2] == ["artifact-store", "register"]:
            # As for every emulator; SSL_CERT_FILE does the same, but is read before these processes are forked.
            words.append(f"--storage_ca_file={page.stack.ca_file}")
        said[line] = page.admin.done(*words) if command == "valetkey" else user.done(*words)
    return Typed(user, said)


@pytest.fixture(scope="module")
def tried(page: Page, typed: Typed) -> dict[str, dict[str, str]]:
    """What each of the three may do with artifacts, by the grants that the page makes for them."""
    script = page.folder / "attempts.py"
    script.write_text(TRY)
    user = ZenML(typed.user.directory, {})

    def attempts(account: str, name: str) -> dict[str, str]:
        answers = page.folder / f"{name}.json"
        ran = user.having(**page.identity(account)).run(script, name, str(answers))
        assert ran.code == 0, ran
        answer: dict[str, str] = json.loads(answers.read_text())
        return answer

    attempts("orchestrator", "shared")
    return {account: attempts(account, f"of {account} --1") for account in ("orchestrator", "trainer", "deployer")}


def answer(typed: Typed, begin: str) -> str:
    """Returns what the line of the page said that begins so, on both outputs: ZenML shows tables on either."""
    (found,) = [ran for line, ran in typed.said.items() if line.startswith(begin)]
    return found.out + found.err


def test_the_page_has_lines_to_type() -> None:
    """Those of both commands are found in it."""
    assert len([line for line in COMMANDS if line.startswith("zenml ")]) > 6
    assert len([line for line in COMMANDS if line.startswith("valetkey ")]) > 3


def test_the_connector_prints_what_it_reaches(typed: Typed) -> None:
    """The page's tables: RESOURCE TYPE and NAMES; over all connectors, also their ids, names and types."""
    registered = answer(typed, "zenml service-connector register")
    assert "RESOURCE TYPE" in registered
    assert DEMO in registered
    for begin in ("zenml service-connector list-resources", "zenml artifact-store connect"):
        table = answer(typed, begin)
        heading = next(line for line in table.splitlines() if "RESOURCE TYPE" in line)
        for column in ("CONNECTOR ID", "CONNECTOR NAME", "CONNECTOR TYPE", "RESOURCE TYPE", "RESOURCE NAMES"):
            assert column in heading
        assert DEMO in table
        assert "valetkey" in table


def test_the_three_can_do_what_their_roles_say(tried: dict[str, dict[str, str]]) -> None:
    """By ZenML's own store, each in a process of its own with its own identity, and no variable of the broker's."""
    done = {who: {what for what, came in each.items() if came == "done"} for who, each in tried.items()}
    assert done == {
        "orchestrator": {"write", "read", "list"},
        "trainer": {"write", "read", "list", "delete"},
        "deployer": {"read", "list"},
    }, tried
    assert "write" in tried["deployer"]["write"]
    assert "delete" in tried["orchestrator"]["delete"]


@dataclass(frozen=True)
class Refused:
    """What ZenML says to lines that it has to refuse, by what is wrong with each, and how each ended."""

    said: dict[str, str]
    codes: dict[str, int]


@pytest.fixture(scope="module")
def refused(page: Page, typed: Typed) -> Refused:
    """Types them in one process: a start of ZenML takes seconds of a processor."""
    script = page.folder / "lines.py"
    script.write_text(LINES)
    endpoint, ca = f"--endpoint={page.way['VALETKEY_ENDPOINT']}", f"--ca_certificate=@{page.way['VALETKEY_CA_FILE']}"
    register = "service-connector register bad --type valetkey --auth-method identity --resource-type blob-container"
    store = ("artifact-store", "register", "az_2", "-f", "valetkey")
    lines = {
        "another container": (*register.split(), endpoint, ca, "--resource-id", "not-granted"),
        "no broker there": (*register.split(), "--endpoint=127.0.0.1:1", ca),
        "no endpoint": (*register.split(), "--endpoint=https://somewhere", ca),
        "another CA": (*register.split(), endpoint, f"--ca_certificate=@{page.issuer.ca_file}"),
        "a secret": (*store, f"--path={DEMO}", "--authentication_secret=az_secret"),
        "not kept": ("service-connector", "describe", "bad"),
    }
    answers = page.folder / "answers.json"
    ran = typed.user.run(script, json.dumps(list(lines.values())), str(answers))
    assert ran.code == 0, ran
    ends = dict(zip(lines, json.loads(answers.read_text()), strict=True))
    return Refused({what: said for what, (_, said) in ends.items()}, {what: code for what, (code, _) in ends.items()})


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("another container", "may not use az://not-granted, or there is no such container"),
        ("no broker there", "127.0.0.1:1"),
        ("no endpoint", "HOST:PORT"),
        ("another CA", "certificate"),
        # What ZenML's page does, our flavor refuses, and says what to type.
        ("a secret", "zenml service-connector register NAME --type valetkey"),
    ],
)
def test_what_cannot_work_is_told(refused: Refused, what: str, says: str) -> None:
    """In words of the user's: what is wrong, and the next step."""
    assert says in " ".join(refused.said[what].split()), refused.said[what]
    assert refused.codes[what] != 0


def test_what_cannot_work_is_not_kept(refused: Refused) -> None:
    """A connector that was refused is none."""
    assert refused.codes["not kept"] != 0


def test_nobody_without_a_grant(page: Page, typed: Typed) -> None:
    """A connector shows nothing to whoever has no grant; the error names the principal and the next step."""
    ran = ZenML(typed.user.directory, page.identity("stranger"))("service-connector", "verify", "vk")
    said = " ".join((ran.out + ran.err).split())
    assert ran.code != 0
    assert f"no grant lets {page.principal('stranger')} use a container" in said


def test_zenml_keeps_no_secret(page: Page, typed: Typed, tried: dict[str, dict[str, str]]) -> None:
    """Its database has the way to the broker; no token, no secret, and not even the identity's token."""
    tokens = {file.name: file.read_text() for file in page.folder.glob("*.token")}
    files = [path for path in typed.user.directory.rglob("*") if path.is_file()]
    assert any(path.name == "zenml.db" for path in files)
    for path in files:
        content = path.read_bytes()
        assert not list(found_in(content, page.secrets | tokens)), path
        assert b"sig=" not in content, path


def test_the_demo_connector_is_the_pages() -> None:
    """The page's names are those of the dev stack, so that people can type its lines there."""
    assert f"--connector {CONNECTOR} --container {DEMO.removeprefix('az://')}" in PAGE
