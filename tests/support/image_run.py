"""`make test-image`: runs the image's root file system as a pod would, from its start over a token to its end.

By runc: numeric user 10001, no capability, no new privileges, seccomp, a read-only root, and a small tmpfs on /tmp. The
broker in it works with a dev stack outside. Prints how large the image is and how long a cold start takes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import tomli_w

from valetkey import Client
from valetkey_devstack.demo_data import DEMO_RESOURCE, add_demo_data
from valetkey_devstack.stack import DevStack

USER = 10001
_IMPORTS = "import grpc, azure.storage.blob, sqlalchemy"
_PATIENCE_SECONDS = 120.0
# What container engines refuse by default, in part: enough to see that the broker needs none of it.
_REFUSED = ["mount", "umount2", "ptrace", "keyctl", "bpf", "unshare", "setns", "kexec_load", "reboot", "init_module"]


class Pod:
    """One container of runc's, in the network of this machine."""

    def __init__(self, root: Path, folder: Path, mounts: Sequence[tuple[Path, str, str]], env: Sequence[str]) -> None:
        self.name = f"valetkey-image-{os.getpid()}"
        self._bundle = folder
        self._root, self._mounts, self._env = root, mounts, env

    def configure(self, command: Sequence[str]) -> None:
        """Writes what runc is to do."""
        config: dict[str, Any] = {
            "ociVersion": "1.0.2",
            "root": {"path": str(self._root), "readonly": True},
            "process": {
                "user": {"uid": USER, "gid": USER},
                "args": list(command),
                "env": list(self._env),
                "cwd": "/",
                "noNewPrivileges": True,
                "capabilities": {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")},
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "size=64m"]},
                *(
                    {"destination": to, "type": "bind", "source": str(source), "options": ["rbind", mode]}
                    for source, to, mode in self._mounts
                ),
            ],
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
                "seccomp": {
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": _REFUSED, "action": "SCMP_ACT_ERRNO"}],
                },
                "maskedPaths": ["/proc/kcore", "/proc/keys"],
                "readonlyPaths": ["/proc/sys"],
            },
        }
        (self._bundle / "config.json").write_text(json.dumps(config))

    @contextlib.contextmanager
    def running(self, command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Runs a command in the container while the context lasts."""
        self.configure(command)
        with log.open("wb") as out:
            process = subprocess.Popen(["runc", "run", "-b", self._bundle, self.name], stdout=out, stderr=out)
        try:
            yield process
        finally:
            if process.poll() is None:
                subprocess.run(["runc", "kill", self.name, "KILL"], check=False, capture_output=True)
            process.wait(30)
            subprocess.run(["runc", "delete", "-f", self.name], check=False, capture_output=True)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs one more command in the running container."""
        argv = ["runc", "exec", self.name, *command]
        return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)

    def pid(self) -> int:
        """Returns the process id of the container's first process, as this machine knows it; 0 where there is none."""
        done = subprocess.run(["runc", "state", self.name], check=False, capture_output=True)
        return int(json.loads(done.stdout)["pid"]) if done.returncode == 0 else 0


def _environment() -> list[str]:
    """Returns the image's own environment, as an engine would set it."""
    text = (Path(__file__).parents[2] / "Dockerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    (line,) = re.findall(r"^ENV (.*)$", re.sub(r"\\\n\s*", "", text), re.MULTILINE)
    return str(line).replace("${PATH}", "/usr/local/bin:/usr/bin:/bin").split()


def _settings(stack: DevStack, folder: Path) -> Path:
    """Copies the stack's settings and what they name to where a pod has them, and returns that folder."""
    etc = folder / "etc"
    etc.mkdir()
    values = tomllib.loads(stack.settings_file.read_text())

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: moved(each) for name, each in value.items()}
        if isinstance(value, list):
            return [moved(each) for each in value]
        if isinstance(value, str) and value.startswith(str(stack.directory)) and Path(value).is_file():
            copy = etc / value.removeprefix(str(stack.directory)).strip("/").replace("/", "-")
            shutil.copy(value, copy)
            os.chown(copy, USER, USER)
            copy.chmod(0o400)
            return f"/etc/valetkey/{copy.name}"
        return value

    values = moved(values)
    values["ledger"] = {"url": "sqlite:////var/lib/valetkey/ledger.db"}
    (etc / "broker.toml").write_text(tomli_w.dumps(values))
    (etc / "broker.toml").chmod(0o444)
    return etc


def _wait(what: str, condition: Any, process: subprocess.Popen[bytes], log: Path) -> float:
    began = time.monotonic()
    while not condition():
        text = log.read_text(errors="replace")
        assert process.poll() is None, f"ended with {process.returncode} before {what}: {text}"
        assert time.monotonic() - began < _PATIENCE_SECONDS, f"no {what}: {text}"
        time.sleep(0.02)
    return time.monotonic() - began


def _start(pod: Pod, log: Path) -> float:
    """Returns the seconds from nothing to a port that is listened on."""
    with pod.running(["valetkey-broker", "serve"], log) as process:
        return _wait("listening", lambda: '"listening"' in log.read_text(), process, log)


def _imports(pod: Pod, log: Path) -> float:
    began = time.monotonic()
    with pod.running(["python3", "-c", _IMPORTS], log) as process:
        assert process.wait(_PATIENCE_SECONDS) == 0, log.read_text()
    return time.monotonic() - began


def _check(pod: Pod, stack: DevStack, key: str, log: Path) -> None:
    """From the start over a token to the end."""
    with pod.running(["valetkey-broker", "serve"], log) as process:
        _wait("serving", lambda: pod.run("valetkey-broker", "health").returncode == 0, process, log)
        status = Path(f"/proc/{pod.pid()}/status").read_text()
        said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert said["Uid"].split() == [str(USER)] * 4, said["Uid"]
        assert int(said["CapEff"], 16) == int(said["CapBnd"], 16) == 0
        assert (said["NoNewPrivs"], said["Seccomp"]) == ("1", "2")
        for place in ("/planted", "/opt/valetkey/planted", "/etc/planted"):
            refused = pod.run("python3", "-c", f"open({place!r}, 'w')")
            assert "Read-only file system" in refused.stderr, refused.stderr
        for gone in ("pip", "setuptools", "uv", "ensurepip"):
            assert pod.run("python3", "-c", f"import {gone}").returncode != 0, f"{gone} is in the image"
        with Client(f"127.0.0.1:{stack.ports.broker}", ca_file=stack.ca_file, api_key=key) as client:
            token = client.issue_token(DEMO_RESOURCE, ["read", "list"], ttl=timedelta(minutes=5))
        assert token.expires_at
        began = time.monotonic()
        subprocess.run(["runc", "kill", pod.name, "TERM"], check=True)
        code = process.wait(_PATIENCE_SECONDS)
        assert code == 0, f"ended with {code} after SIGTERM: {log.read_text()}"
        assert '"stopped"' in log.read_text()
        sys.stdout.write(f"served, issued a token, ended {time.monotonic() - began:.1f} s after SIGTERM\n")
    # The first process of a container does not get a SIGTERM that it has no handler for: it has one from the start.
    with pod.running(["valetkey-broker", "serve"], log) as process:
        _wait("a process", lambda: Path(f"/proc/{pod.pid()}/exe").exists(), process, log)
        time.sleep(0.4)
        subprocess.run(["runc", "kill", pod.name, "TERM"], check=False, capture_output=True)
        code = process.wait(_PATIENCE_SECONDS)
        assert code in (0, 143), f"ended with {code} after a SIGTERM amid its start: {log.read_text()}"
        sys.stdout.write(f"ended with {code} after a SIGTERM amid its start\n")


async def _run(root: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with DevStack(folder / "stack") as stack:
            files = await add_demo_data(stack)
            etc, var = _settings(stack, folder), folder / "var"
            var.mkdir()
            os.chown(var, USER, USER)
            mounts = [(etc, "/etc/valetkey", "ro"), (var, "/var/lib/valetkey", "rw")]
            pod = Pod(root, folder, mounts, _environment())
            log = folder / "pod.log"
            await asyncio.to_thread(_check, pod, stack, files.consumer_key.read_text().strip(), log)
            starts, imports = [], []
            for _ in range(3):
                imports.append(await asyncio.to_thread(_imports, pod, log))
                starts.append(await asyncio.to_thread(_start, pod, log))
    size = sum(file.lstat().st_size for file in (root / "opt" / "valetkey").rglob("*")) / 1e6
    ratio = min(starts) / min(imports)
    sys.stdout.write(
        f"/opt/valetkey is {size:.0f} MB; to listening {min(starts):.2f} s, the imports of grpc, azure.storage.blob "
        f"and sqlalchemy {min(imports):.2f} s: {ratio:.2f} times\n"
    )
    assert size <= 125, "the broker's part of the image is over 125 MB"


def main() -> None:
    """Runs the check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the image's file system, unpacked")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    asyncio.run(_run(given.root.resolve()))


if __name__ == "__main__":
    main()
