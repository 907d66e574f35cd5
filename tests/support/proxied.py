"""`valetkey proxy` as a process, and clients that work through it."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.e2e import DEMO, Live, soon

ROOT = Path(__file__).parents[2]
CLIENTS_PYTHON = ROOT / ".venv-clients" / "bin" / "python"
CLIENT_SCRIPT = ROOT / "tests" / "bench" / "proxied_client.py"
PERMISSIONS = "read,list,write,create,add,delete"
_ENDS = re.compile(
    r"ends: (?P<requests>\d+) requests, (?P<tokens>\d+) tokens, (?P<renewed>\d+) renewed after a 403, "
    r"(?P<refused>\d+) refused here, (?P<failed>\d+) failed at storage"
)


@dataclass
class Proxied:
    """A running proxy: what it printed, and, once it has ended, what it counted."""

    process: "subprocess.Popen[str]"
    said: dict[str, Any]
    counts: dict[str, int] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Returns what proxied_client.py reads."""
        return {
            "PATH": os.environ["PATH"],
            "ENDPOINT": self.said["endpoint"],
            "ACCOUNT": self.said["account"],
            "CONTAINER": self.said["container"],
            "SAS": self.said["sas_token"],
        }

    def client(self, name: str, seconds: float, **more: str) -> "subprocess.Popen[str]":
        """Starts a client that works for so long; `more` are further variables of its environment."""
        assert CLIENTS_PYTHON.exists(), "the clients are missing: make .venv-clients/.installed"
        return subprocess.Popen(
            [CLIENTS_PYTHON, "-I", CLIENT_SCRIPT, name, str(seconds)],
            env=self.environment() | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> None:
        """Ends it as a service manager does, and reads what it counted."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, out + err
        assert "sig=" not in err  # It logs none, of whichever token.
        match = _ENDS.search(err)
        assert match, err
        self.counts = {name: int(count) for name, count in match.groupdict().items()}


def result(process: "subprocess.Popen[str]", seconds: float = 280) -> dict[str, Any]:
    """Waits for a client and returns what it did; fails where it broke."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, re.sub(r"sig=[^&\s'\"]+", "sig=…", out + err)
    found: dict[str, Any] = json.loads(out)
    return found


@contextmanager
def proxied(live: Live, *options: str, ttl: str = "8s", directory: Path) -> Iterator[Proxied]:
    """Runs the command for the demo container, with tokens of 8 s unless told otherwise, and ends it."""
    port_file = directory / "proxy.port"
    process = live.admin.start(
        *("proxy", "--resource", DEMO, "--permissions", PERMISSIONS, "--ttl", ttl, "-o", "json"),
        *("--storage-ca-file", str(live.stack.ca_file), "--port-file", str(port_file), *options),
    )
    running = Proxied(process, {})
    try:
        assert soon(lambda: port_file.exists() or process.poll() is not None, 90), "the proxy does not start"
        assert process.poll() is None, process.communicate()
        assert process.stdout is not None
        running.said = json.loads(process.stdout.readline())
        assert int(port_file.read_text()) == running.said["port"]
        yield running
    finally:
        if process.poll() is None:
            running.end()
