"""What docs/zenml.md has people type, typed: with ZenML's own command and ours, against one stack."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template

import pytest

from support.cli_runner import Ran
from support.e2e import CONNECTOR, DEMO
from support.leaks import found_in
from support.zenml import Answers, ZenML
from support.zenml_stack import ZenMLStack

pytestmark = [pytest.mark.xdist_group("zenml"), pytest.mark.unmeasured, pytest.mark.timeout(1200)]
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
    with store.open(f"{store.path}/of orchestrator --1", "rb") as file:
        assert file.read() == b"artifact"

pathlib.Path(sys.argv[2]).write_text(json.dumps({
    "write": attempt(write),
    "read": attempt(read),
    "list": attempt(lambda: store.listdir(store.path)),
    "delete": attempt(lambda: store.remove(path)),
}))
"""


@dataclass(frozen=True)
class Typed:
    """The page, typed: what each line said, and the user who typed it."""

    user: ZenML
    said: dict[str, Ran]

    def elsewhere(self, identity: dict[str, str]) -> ZenML:
        """Returns the same ZenML with nothing but an identity in its environment: the connector names the broker."""
        return self.user.having(VALETKEY_ENDPOINT="", VALETKEY_CA_FILE="", **identity)


@pytest.fixture(scope="module")
def typed(live: ZenMLStack) -> Typed:
    """Types each line of the page in its order; one that fails fails all."""
    live.admin.done(
        *("grant", "create", "registrars", "--principal", live.principal("registrar"), "--connector", CONNECTOR),
        *("--container", DEMO.removeprefix("az://"), "--role", "step-operator"),
    )
    user = live.new_user(**live.way, **live.identity("registrar"))
    variables = {**user.environment, "ISSUER": live.issuer.url}
    said = {}
    for line in COMMANDS:
        command, *words = shlex.split(Template(line).substitute(variables))
        if words[:2] == ["artifact-store", "register"]:
            # As for every emulator; SSL_CERT_FILE does the same, but is read before these processes are forked.
            words.append(f"--storage_ca_file={live.stack.ca_file}")
        said[line] = live.admin.done(*words) if command == "valetkey" else user.done(*words)
    return Typed(user, said)


@pytest.fixture(scope="module")
def tried(live: ZenMLStack, typed: Typed) -> dict[str, dict[str, str]]:
    """What each of the three may do with artifacts, by the grants that the page makes for them."""
    script = live.folder / "attempts.py"
    script.write_text(TRY)

    def attempts(account: str, name: str) -> dict[str, str]:
        answers = live.folder / f"{name}.json"
        ran = typed.elsewhere(live.identity(account)).run(script, name, str(answers))
        assert ran.code == 0, ran
        answer: dict[str, str] = json.loads(answers.read_text())
        return answer

    # In this order: they read what the first one has written.
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


@pytest.fixture(scope="module")
def refused(live: ZenMLStack, typed: Typed) -> Answers:
    """What ZenML says to lines that it has to refuse, by what is wrong with each."""
    endpoint, ca = f"--endpoint={live.way['VALETKEY_ENDPOINT']}", f"--ca_certificate=@{live.way['VALETKEY_CA_FILE']}"
    register = "service-connector register bad --type valetkey --auth-method identity --resource-type blob-container"
    store = ("artifact-store", "register", "az_2", "-f", "valetkey")
    lines = {
        "another container": (*register.split(), endpoint, ca, "--resource-id", "not-granted"),
        "no broker there": (*register.split(), "--endpoint=127.0.0.1:1", ca),
        "no endpoint": (*register.split(), "--endpoint=https://somewhere", ca),
        "another CA": (*register.split(), endpoint, f"--ca_certificate=@{live.issuer.ca_file}"),
        "a secret": (*store, f"--path={DEMO}", "--authentication_secret=az_secret"),
        "not kept": ("service-connector", "describe", "bad"),
    }
    return typed.user.typed(lines, live.folder / "answers.json")


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
def test_what_cannot_work_is_told(refused: Answers, what: str, says: str) -> None:
    """In words of the user's: what is wrong, and the next step."""
    assert says in refused.said[what]
    assert refused.codes[what] != 0


def test_what_cannot_work_is_not_kept(refused: Answers) -> None:
    """A connector that was refused is none."""
    assert refused.codes["not kept"] != 0


def test_nobody_without_a_grant(live: ZenMLStack, typed: Typed) -> None:
    """A connector shows nothing to whoever has no grant; the error names the principal and the next step."""
    ran = typed.elsewhere(live.identity("stranger"))("service-connector", "verify", "vk")
    said = " ".join((ran.out + ran.err).split())
    assert ran.code != 0
    assert f"no grant lets {live.principal('stranger')} use a container" in said


def test_zenml_keeps_no_secret(live: ZenMLStack, typed: Typed, tried: dict[str, dict[str, str]]) -> None:
    """Its database has the way to the broker; no token, no secret, and not even the identity's token."""
    tokens = {file.name: file.read_text() for file in live.folder.glob("*.token")}
    files = [path for path in typed.user.directory.rglob("*") if path.is_file()]
    assert any(path.name == "zenml.db" for path in files)
    for path in files:
        content = path.read_bytes()
        assert not list(found_in(content, live.secrets() | tokens)), path
        assert b"sig=" not in content, path


def test_the_demo_connector_is_the_pages() -> None:
    """The page's names are those of the dev stack, so that people can type its lines there."""
    assert f"--connector {CONNECTOR} --container {DEMO.removeprefix('az://')}" in PAGE
