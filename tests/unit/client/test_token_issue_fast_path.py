"""`token issue` without Typer: what it loads, and that a line means the same as with Typer."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fake_broker import API_KEY, SAS, FakeBroker
from valetkey.cli import app, token_issue_fast_path, token_issuing
from valetkey.cli.global_options import GlobalOptions
from valetkey.cli.screen import Screen
from valetkey.cli.token_issuing import TokensWanted
from valetkey.version import VERSION

PLAIN = ["token", "issue", "--resource", "ml", "--permissions", "read,list", "-o", "sas"]
# What a plain line does without: Typer and all commands, Rich, files of settings other than TOML, other services.
HEAVY = (
    "typer",
    "click",
    "rich",
    "yaml",
    "aiohttp",
    "importlib.metadata",
    "valetkey.convert",
    "valetkey.cli.app",
)
LOADED = """
import sys
from valetkey.cli.entry_point import run
code = run(sys.argv[1:])
sys.stdout.flush()
print(code, *sorted(sys.modules), sep="\\n", file=sys.stderr)
"""


def test_it_loads_neither_typer_nor_rich_nor_other_services(broker: FakeBroker) -> None:
    """Protects what a token costs in a shell's loop: half of a start was imports that it does not need."""
    environment = {"VALETKEY_ENDPOINT": broker.endpoint, "VALETKEY_CA_FILE": str(broker.ca_file), "HOME": "/nowhere"}
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, *PLAIN],
        env=environment | {"VALETKEY_API_KEY": API_KEY},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    code, *modules = ran.stderr.splitlines()
    assert (code, ran.stdout) == ("0", f"{SAS}\n")
    assert [name for name in modules if name in HEAVY] == []
    services = {name for name in modules if name.endswith("service_pb2")}
    assert services == {"valetkey.v1.token_service_pb2"}


def as_typer_reads(line: list[str]) -> list[tuple[GlobalOptions, TokensWanted]]:
    """Returns what Typer makes of a line; nothing where it refuses it."""
    found: list[tuple[GlobalOptions, TokensWanted]] = []

    def note(given: GlobalOptions, wanted: TokensWanted) -> int:
        found.append((given, wanted))
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_issuing, "issue", note)
        app.run_line(line, Screen(as_json=True))
    return found


words = st.sampled_from(
    [
        *PLAIN,
        *token_issue_fast_path.OPTIONS,
        *token_issue_fast_path.GLOBAL_OPTIONS,
        *("--ttl=5m", "--purpose=a=b", "-osas", "-o=sas", "--output=json", "--Resource", "--source_ip", "--timeout=3s"),
        *("10.0.0.1", "json", "JSON", "--", "-", "", "-h", "--version", "watch", "x", "\udcff"),
    ]
)
endings = st.lists(words, max_size=5).map(lambda more: [*PLAIN, *more])
beginnings = st.lists(words, max_size=4).map(lambda more: [*more, *PLAIN])


@given(st.one_of(endings, beginnings, st.lists(words, max_size=8)))
def test_what_it_reads_typer_reads_alike(line: list[str]) -> None:
    """Protects users from a command that depends on who read the line: what is not plain is left to Typer."""
    if (read := token_issue_fast_path.read(line)) is not None:
        assert as_typer_reads(line) == [read]


def test_every_option_can_stand_in_a_plain_line() -> None:
    """Protects speed: an option that nobody told this reader of would make each line slow that has it."""
    line = [
        *PLAIN[:2],
        *(part for name in token_issue_fast_path.OPTIONS if name != "--output" for part in (name, "sas")),
    ]
    before = [part for name in token_issue_fast_path.GLOBAL_OPTIONS for part in (name, "1s")]
    read = token_issue_fast_path.read([*before, *line])
    assert read is not None
    assert as_typer_reads([*before, *line]) == [read]
    root = app.get_command(app.app)
    issue = root.commands["token"].commands["issue"]  # type: ignore[attr-defined]
    for command, known in ((issue, token_issue_fast_path.OPTIONS), (root, token_issue_fast_path.GLOBAL_OPTIONS)):
        names = {name for parameter in command.params if parameter.name != "version" for name in parameter.opts}
        assert names - {"--install-completion", "--show-completion"} == set(known)


def test_a_shell_that_completes_is_answered_by_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects completion: its words stand in the environment, and what else is on the line means nothing."""
    monkeypatch.setenv("_VALETKEY_COMPLETE", "complete_bash")
    assert token_issue_fast_path.read(PLAIN) is None


def test_the_version_is_that_of_the_distribution() -> None:
    """Protects what `--version` and the broker's log say, which is written twice."""
    project = Path(__file__).parents[3] / "clients" / "python" / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == VERSION
