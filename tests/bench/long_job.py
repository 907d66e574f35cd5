"""A job that outlives many tokens, by every way that we offer, with a 503 of storage at the moment of each renewal.

    make long-job [SECONDS=600] [TTL=60]

prints, for each way, what it did, by how many tokens, in how many requests, how often storage was busy just then, and
what failed. All run at the same time, on one stack.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from support.children import start
from support.e2e import CONNECTOR, DEMO, Cli, Live, soon, user_environment
from support.proxied import CLIENTS_PYTHON, PERMISSIONS, ROOT, proxied, result
from support.renewal_faults import RenewalFaults
from support.shielded_work import in_background
from support.stack import running_stack

RENEWING_SCRIPT, READER_SCRIPT = (
    ROOT / "tests" / "bench" / f"{name}.py" for name in ("renewing_client", "file_reader")
)
RENEWING = (
    *("azure_storage_blob", "azure_storage_blob_aio", "fsspec", "pandas", "pyarrow", "dask"),
    *("duckdb", "pyiceberg", "obstore", "polars"),
)
READER = "agent, curl"
PROXIED = ("curl", "azure_storage_blob", "adlfs", "pyarrow", "deltalake", "obstore", "polars", "rclone")
# By the names of what they write storage tells who is who.
OWNERS = {
    **{f"proxy, {name}": rf"proxied-{name}-\d" for name in PROXIED},
    "proxy, deltalake": r"table-\d",
    **{f"valetkey, {name}": rf"[/=]{name}-\d" for name in RENEWING},
    READER: r"file_reader-\d",
}
_PAUSE = 0.5
_SIGNATURE = re.compile(r"sig=[^&\s'\"]+")


def say(text: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def faulty_stack(directory: Path, seconds: float) -> Iterator[tuple[Live, RenewalFaults]]:
    """Runs a whole stack whose broker names, as storage, what fails at renewals of tokens that live so long."""
    from valetkey_devstack.broker_process import start_broker
    from valetkey_devstack.demo_data import add_demo_data

    with running_stack(directory) as running, ExitStack() as held:
        stack = running.stack
        certificate, key = stack.ca.issue("faults", directory)
        target = f"https://127.0.0.1:{stack.azurite.port}"
        proxy = RenewalFaults(target, stack.ca_file, certificate, key, seconds=seconds, owners=OWNERS)
        faults = held.enter_context(in_background(proxy, "faults")).value
        text = stack.settings_file.read_text()
        stack.settings_file.write_text(text.replace(stack.azurite.blob_endpoint, f"{faults.url}/{{account}}"))
        secret_files = running.call(add_demo_data(stack, connector=True))
        broker = running.call(start_broker(stack, workers=1))
        variables = {
            "VALETKEY_ENDPOINT": f"127.0.0.1:{stack.ports.broker}",
            "VALETKEY_CA_FILE": str(stack.ca_file),
            "VALETKEY_API_KEY_FILE": str(secret_files.admin_key),
            "HOME": str(directory),
        }
        try:
            live = Live(running, secret_files, broker, Cli(variables))
            live.allow(CONNECTOR)
            yield live, faults
        finally:
            running.call(broker.stop(grace=15))


@contextmanager
def agent_file(live: Live, directory: Path, ttl: float) -> Iterator[Path]:
    """Runs an agent that keeps a URL with its token in a file."""
    words = ", ".join(f'"{word}"' for word in PERMISSIONS.split(","))
    (directory / "agent.toml").write_text(
        f'[[resource]]\nresource = "{DEMO}"\npermissions = [{words}]\nttl = "{ttl:.0f}s"\n'
        '[[resource.output]]\npath = "url"\nformat = "url"\n'
    )
    process = live.admin.start("agent", "--config", str(directory / "agent.toml"))
    try:
        assert soon((directory / "url").exists, 90), "the agent does not write"
        yield directory / "url"
    finally:
        process.terminate()
        process.communicate(timeout=60)


def renewing(live: Live, client: str, seconds: float, ttl: float) -> "subprocess.Popen[str]":
    """Starts a client that renews tokens by itself, with one of our adapters."""
    given = {
        **live.admin.environment,
        "CONTAINER": DEMO.removeprefix("az://"),
        "TTL": str(ttl),
        "PACE": str(_PAUSE),
        "SSL_CERT_FILE": str(live.stack.ca_file),
        "REQUESTS_CA_BUNDLE": str(live.stack.ca_file),
    }
    others = {name: value for name, value in user_environment().items() if not name.startswith("AZURE_")}
    return _started([CLIENTS_PYTHON, "-I", RENEWING_SCRIPT, "work", client, str(seconds)], {**others, **given})


def reader(live: Live, file: Path, seconds: float) -> "subprocess.Popen[str]":
    """Starts who reads the agent's file."""
    given = {"URL_FILE": str(file), "STORAGE_CA_FILE": str(live.stack.ca_file), "PACE": str(_PAUSE)}
    return _started([sys.executable, READER_SCRIPT, str(seconds)], user_environment(given))


def _started(argv: list[str | Path], environment: dict[str, str]) -> "subprocess.Popen[str]":
    return start(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def job(live: Live, directory: Path, seconds: float, ttl: float, only: str) -> dict[str, dict[str, Any]]:
    """Runs every way whose name has `only` in it for so long, all at the same time; returns what each did."""
    with ExitStack() as held:
        file = held.enter_context(agent_file(live, directory, ttl))
        running: dict[str, subprocess.Popen[str]] = {}
        for name in (name for name in PROXIED if only in f"proxy, {name}"):
            folder = directory / name
            folder.mkdir()
            proxy = held.enter_context(proxied(live, ttl=f"{ttl:.0f}s", directory=folder))
            running[f"proxy, {name}"] = proxy.client(name, seconds, RETRIES="5", PAUSE=str(_PAUSE))
        running |= {
            f"valetkey, {name}": renewing(live, name, seconds, ttl) for name in RENEWING if only in f"valetkey, {name}"
        }
        if only in READER:
            running[READER] = reader(live, file, seconds)
        return {way: result(process, seconds + 240) for way, process in running.items()}


def main(seconds: float, ttl: float, only: str) -> int:
    """Runs all of it on a stack of its own; returns the exit code."""
    assert CLIENTS_PYTHON.exists(), "the clients are missing: make .venv-clients/.installed"
    with tempfile.TemporaryDirectory() as name, faulty_stack(Path(name), ttl) as (live, faults):
        say(f"Each for {seconds:.0f} s with tokens of {ttl:.0f} s, all at once, one 503 at each renewal.\n")
        found = job(live, Path(name), seconds, ttl, only)
    say("| way | operations | tokens | requests | 503 at a renewal | 403 | failed |")
    say("| --- | --- | --- | --- | --- | --- | --- |")
    bad = 0
    for way, did in found.items():
        count, failures = sum(did["done"].values()), did["failures"]
        row = (way, count, len(faults.tokens[way]), faults.requests[way], faults.injected[way], faults.refused[way])
        say(f"| {' | '.join(map(str, (*row, len(failures))))} |")
        for failure in failures[:3]:
            say(f"    {_SIGNATURE.sub('sig=...', ' '.join(failure.split()))}")
        bad += len(failures) + faults.refused[way]
    return 1 if bad else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--ttl", type=float, default=60)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    sys.exit(main(given.seconds, given.ttl, given.only))
