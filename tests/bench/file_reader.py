"""What reads the file that `valetkey agent` keeps: curl, with the URL that stands there as it begins.

    python file_reader.py SECONDS

works for a while with objects of its own; URL_FILE names the file, STORAGE_CA_FILE storage's CA, PACE how long it rests
between two operations. It prints, as JSON, how often each operation was done, and what failed.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Steps = dict[str, Callable[[str], Any]]
PACE = float(os.environ.get("PACE", "0.05"))


def same(found: Any, expected: Any) -> None:
    """Fails where they differ."""
    if found != expected:
        raise AssertionError(f"found {found!r:.60}, expected {expected!r:.60}")


def curl() -> Steps:
    """Reads the file before each run, as a script does."""
    file, ca_file = Path(os.environ["URL_FILE"]), os.environ["STORAGE_CA_FILE"]

    def once(arguments: tuple[str, ...], path: str, more: str, data: bytes) -> "subprocess.CompletedProcess[bytes]":
        url, _, sas = file.read_text().strip().partition("?")
        command = ("curl", "--fail", "--silent", "--show-error", "--cacert", ca_file, *arguments)
        return subprocess.run([*command, f"{url}{path}?{sas}{more}"], input=data, capture_output=True, check=False)

    def run(*arguments: str, path: str = "", more: str = "", data: bytes = b"") -> bytes:
        # Not curl's own --retry, which would send the old token once more.
        for _ in range(5):
            done = once(arguments, path, more, data)
            if not done.returncode:
                return done.stdout
            if b"error: 503" not in done.stderr:
                break
            time.sleep(0.5)
        raise AssertionError(done.stderr.decode())

    put = ("-X", "PUT", "-H", "x-ms-blob-type: BlockBlob", "--data-binary", "@-")
    return {
        "write": lambda folder: run(*put, path=f"/{folder}/small", data=b"weights"),
        "read": lambda folder: same(run(path=f"/{folder}/small"), b"weights"),
        "list": lambda folder: same(run(more=f"&restype=container&comp=list&prefix={folder}/").count(b"<Name>"), 1),
        "delete": lambda folder: run("-X", "DELETE", path=f"/{folder}/small"),
    }


def main(seconds: float) -> None:
    """Does all that it can, over and over until the time is up; goes on after what fails."""
    began, number = time.monotonic(), 0
    done: Counter[str] = Counter()
    failures: list[str] = []
    steps = curl()
    while not number or time.monotonic() - began < seconds:
        number += 1
        for name, step in steps.items():
            try:
                step(f"file_reader-{os.getpid()}-{number}")
            except AssertionError as error:
                failures.append(f"{name}: {error}"[:300])
            done[name] += 1
            time.sleep(PACE)
    sys.stdout.write(json.dumps({"done": done, "failures": failures}) + "\n")


if __name__ == "__main__":
    main(float(sys.argv[1]))
