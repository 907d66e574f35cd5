"""What a broker has loaded when it listens, and what it loads then; no clock is looked at.

Each of these takes a share of a start, and a fleet that is updated starts every pod.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from support import children
from support.broker_process import run, write_config
from valetkey_broker.cli import serve
from valetkey_broker.cli.commands import app
from valetkey_broker.cli.serve_fast_path import CONFIG_ENV, plainly_served

# The command line's library, what it brings along, what only migrating needs, and the first question to Azure.
NOT_TO_LISTEN = (
    "typer",
    "rich",
    "alembic",
    "sqlalchemy.dialects.postgresql",
    "psycopg",
    "azure.identity",
    "msal",
    "azure.storage.blob.aio",
    "azure.mgmt",
    "prometheus_client",
)
LOADED_SOON = ("azure.identity.aio", "azure.storage.blob.aio")
# Says what is loaded when the line "listening" is written, and again once what is loaded then is there.
PROGRAM = """
import json, sys, threading, time
names, soon = json.loads(sys.argv.pop())
out = sys.stdout
def there(): return [name for name in names + soon if name in sys.modules]
class Watched:
    def write(self, text):
        if '"listening"' in text:
            out.write(json.dumps(there()) + "\\n"); out.flush()
            threading.Thread(target=later, daemon=True).start()
    def flush(self): pass
def later():
    while not all(name in sys.modules for name in soon): time.sleep(0.01)
    out.write(json.dumps(there()) + "\\n"); out.flush()
sys.stdout = Watched()
from valetkey_broker.__main__ import main
main()
"""


def test_what_is_loaded_to_listen(tmp_path: Path) -> None:
    """A broker whose ledger is there already listens without what it needs only later, and soon has that too."""
    config = write_config(tmp_path)
    assert run("migrate", "--config", config).returncode == 0
    argv = [sys.executable, "-c", PROGRAM, "serve", "--config", str(config), json.dumps([NOT_TO_LISTEN, LOADED_SOON])]
    broker = children.start(argv, stdout=subprocess.PIPE, env=children.unmeasured(dict(os.environ)))
    assert broker.stdout is not None
    lines = [json.loads(broker.stdout.readline()) for _ in range(2)]
    broker.kill()
    broker.communicate()
    assert lines[0] == []
    assert set(LOADED_SOON) <= set(lines[1])


SERVED = [
    ["serve", "--config", "b.toml"],
    ["serve", "-c", "b.toml", "--workers", "3"],
    ["serve", "--workers=64", "--config=b.toml", "--config", "c.toml"],
    ["worker", "--config", "b.toml"],
]
LEFT_TO_TYPER = [
    [],
    ["serve", "--help"],
    ["serve", "--config", "b.toml", "--workers", "0"],
    ["serve", "--config", "b.toml", "--workers", "65"],
    ["serve", "--config", "b.toml", "--workers", "two"],
    ["serve", "--config", "b.toml", "--workers"],
    ["serve", "--config"],
    ["serve", "--config", "--workers", "2"],
    ["serve", "--config="],
    ["serve", "b.toml"],
    ["serve", "--config", "b.toml", "--", "x"],
    ["worker", "--config", "b.toml", "--workers", "2"],
    ["check-config", "--config", "b.toml"],
    ["--version"],
]


@pytest.mark.parametrize("environment", [{}, {CONFIG_ENV: "from-the-environment.toml"}, {CONFIG_ENV: ""}])
def test_short_way_is_the_command_lines(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """What the short way takes, it takes as the command line would; what it does not, the command line is left."""
    called: list[tuple[object, ...]] = []
    for name in ("serve_alone_or_supervise", "serve_as_worker"):
        monkeypatch.setattr(serve, name, lambda *given, name=name: called.append((name, *given)))
    monkeypatch.delenv(CONFIG_ENV, raising=False)
    for words in [*SERVED, ["serve"], ["worker"]]:
        short = plainly_served(words, environment)
        said = CliRunner().invoke(app, words, env=environment)
        long = called.pop() if called else None
        assert (short and (short.function, *short.arguments)) == long, words
        assert (said.exit_code == 0) is (long is not None), said.output
        assert plainly_served(words, {**environment, "_VALETKEY_BROKER_COMPLETE": "complete_bash"}) is None
    assert [words for words in LEFT_TO_TYPER if plainly_served(words, environment) is not None] == []
