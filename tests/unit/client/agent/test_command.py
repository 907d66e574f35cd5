"""`valetkey agent` as a command: once and for ever, its exit codes, its log, and the command on renewal."""

import json
import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from support.agent_rig import agent, configure, models, soon
from support.cli_runner import Runner
from valetkey.testing import FakeBroker

OUTPUTS = tuple(
    f'path = "{form}"\nformat = "{form}"' for form in ("sas", "url", "env", "rclone-conf", "duckdb", "json")
)


@pytest.fixture
def valetkey(bare: Runner, fake: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs a command line that finds the fake broker through the environment."""
    for name, value in fake.environ().items():
        monkeypatch.setenv(name, value)
    return bare


def test_once_writes_everything_as_token_issue_prints_it(valetkey: Runner, fake: FakeBroker, tmp_path: Path) -> None:
    """Protects init containers: all files, exit 0, and no form has a second way to be written."""
    file = configure(tmp_path, models("[resource.proxy]", "port = 8765", outputs=OUTPUTS))
    ran = valetkey("agent", "--config", str(file), "--once")
    assert ran.code == 0, ran
    (line,) = ran.err.splitlines()
    written = json.loads(line)
    assert (written["level"], written["event"], written["resource"], written["files"]) == (
        *("info", "written", "az://models"),
        6,
    )
    assert not (tmp_path / "ready").exists()
    token = json.loads((tmp_path / "json").read_text())
    for form in ("sas", "url", "env", "rclone-conf", "duckdb"):
        issued = valetkey("token", "issue", "--resource", "az://models", "--permissions", "read,list", "-o", form).out
        # Another token, and the same words around it.
        assert _shape((tmp_path / form).read_text()) == _shape(issued), form
    assert token["sas_token"] == (tmp_path / "sas").read_text().strip()
    assert (tmp_path / "url").read_text() == f"{token['sas_url']}\n"
    assert fake.calls[0] == "WatchToken"


def _shape(text: str) -> str:
    import re

    return re.sub(r"fake\d+|20\d\d-[-0-9T:%A]+Z", "…", text)


def test_once_says_at_once_what_is_wrong(valetkey: Runner, fake: FakeBroker, tmp_path: Path) -> None:
    """Protects init containers from hanging: the reason, its exit code, and the rest is written all the same."""
    file = configure(tmp_path, models() + models(outputs=('path = "b"\nformat = "sas"',)).replace("models", "data"))
    fake.refuse("az://data", "no grant lets key:fake use az://data")
    ran = valetkey("agent", "--config", str(file), "--once")
    told = [json.loads(line) for line in ran.err.splitlines()]  # No line is of another form.
    assert (ran.code, ran.out) == (3, "")
    assert [(each["reason"], each["cause"]) for each in told if each["level"] == "error"] == [
        ("RESOURCE_DENIED", "no grant lets key:fake use az://data")
    ]
    assert (tmp_path / "sas").exists()
    (tmp_path / "sas").unlink()
    (tmp_path / "sas").mkdir()
    ran = valetkey("agent", "--config", str(file), "--once")
    assert ran.code == 1
    assert "sas: cannot be written: it is a directory" in ran.err
    assert '"cause": "no grant lets key:fake use az://data"' in ran.err
    fake.stop()
    ran = valetkey("agent", "--config", str(file), "--once")
    assert ran.code == 5
    assert f"cannot reach the broker at {fake.endpoint}" in ran.err


def test_what_cannot_begin(valetkey: Runner, tmp_path: Path) -> None:
    """Protects whoever starts it: what is wrong with the configuration is exit 2, before anybody is asked."""
    assert valetkey("agent").code == 2
    ran = valetkey("agent", "--config", str(tmp_path / "none"))
    assert (ran.code, "there is no file" in ran.err) == (2, True)
    proxied = models("[resource.proxy]", "port = 0", outputs=('path = "a"\nformat = "sas"\nthrough_proxy = true',))
    file = configure(tmp_path, proxied)
    ran = valetkey("agent", "--config", str(file), "--once")
    assert (ran.code, "is for what goes through the proxy, and none runs after this" in ran.err) == (2, True)
    ran = valetkey("agent", "--config", str(file), "--storage-ca-file", str(tmp_path / "none"))
    assert (ran.code, "--storage-ca-file: " in ran.err) == (2, True)


def test_signals(valetkey: Runner, fake: FakeBroker, tmp_path: Path) -> None:
    """Protects pods: SIGHUP reads the configuration again, SIGTERM ends cleanly, lines are JSON without signatures."""
    file = configure(tmp_path, "remove_on_exit = true\n" + models(ttl="3s"))
    told = threading.Event()
    hears = logging.Handler()
    hears.emit = lambda _record: told.set()  # type: ignore[method-assign]

    def come(name: str) -> None:
        deadline = time.monotonic() + 60
        while not ((tmp_path / name).exists() and (tmp_path / "ready").exists()) and time.monotonic() < deadline:
            time.sleep(0.02)

    def signals() -> None:
        come("sas")
        fake.refuse(message="gone for now: sig=fakesecret")
        told.wait(60)  # The library has a line for the log.
        fake.allow()
        more = models(ttl="3s") + '[[resource.output]]\npath = "more"\nformat = "json"\n'
        configure(tmp_path, "remove_on_exit = true\n" + more)
        os.kill(os.getpid(), signal.SIGHUP)
        come("more")
        os.kill(os.getpid(), signal.SIGTERM)

    logging.getLogger("valetkey").addHandler(hears)
    sender = threading.Thread(target=signals)
    sender.start()
    ran = valetkey("agent", "--config", str(file))
    sender.join()
    logging.getLogger("valetkey").removeHandler(hears)
    assert ran.code == 0, ran
    events = [json.loads(line) for line in ran.err.splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["begins", "ends"]
    assert all(set(line) >= {"time", "level", "event"} for line in events)
    assert any("cannot be renewed: gone for now: sig=..." in line["event"] for line in events)
    assert "sig=fake" not in ran.err
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["agent.toml"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ('["/no/such/command"]', "command on renewal cannot be run: No such file or directory"),
        ('["sh", "-c", "echo oh sig=secret no >&2; exit 7"]', "command on renewal ended with exit code 7"),
        ('["sh", "-c", "kill -9 $$"]', "command on renewal was ended by signal 9"),
        (
            '["sh", "-c", "sleep 100 & echo $! > new; mv new child; wait"]',  # whole: each renewal runs it again
            "command on renewal still ran after 1 s, and was killed",
        ),
        ('["sh", "-c", "env > seen; yes | head -c 300000"]', "command on renewal done"),
    ],
)
async def test_the_command_on_renewal(
    command: str, says: str, fake: FakeBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects renewals from the command: it may be missing, fail, hang or talk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VALETKEY_API_KEY", "vk_" + "P" * 43)
    more = (f"on_renewal = {command}", 'on_renewal_timeout = "1s"')
    async with agent(fake, tmp_path, models(*more, ttl="2s")) as running:
        await soon(lambda: running.says(says))
        first = running.read("sas")
        await soon(lambda: running.read("sas") != first)
        assert not running.says("sig=secret")
        if (tmp_path / "child").exists():
            child = int(running.read("child"))
            await soon(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text())
        if (tmp_path / "seen").exists():
            assert "VALETKEY_API_KEY=" not in running.read("seen")
    assert running.lines[-1]["event"] == "ends"
