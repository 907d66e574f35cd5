"""Every client that renews tokens by itself, for longer than three tokens, with a 503 as one is renewed; and what
permissions each of its operations needs, found out by refusals.

Both are parts of `make clients-table`.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from support.e2e import CONNECTOR, Live, live_stack, user_environment
from support.proxied import CLIENTS_PYTHON
from support.watched_storage import WatchedStorage, watched

SCRIPT = Path(__file__).with_name("renewing_client.py")
CONTAINER = "demo-zenmlartifactstore"
CLIENTS = (
    *("azure_storage_blob", "azure_storage_blob_aio", "fsspec", "pandas", "pyarrow", "dask"),
    *("duckdb", "pyiceberg", "obstore", "polars"),
)
_LIFE, _LONG_LIFE = 8, 900


def _run(live: Live, ttl: int, *arguments: str) -> dict[str, Any]:
    """Runs the script in its environment and returns what it printed."""
    given = {
        **live.admin.environment,
        "CONTAINER": CONTAINER,
        "TTL": str(ttl),
        "SSL_CERT_FILE": str(live.stack.ca_file),
        "REQUESTS_CA_BUNDLE": str(live.stack.ca_file),
    }
    others = {name: value for name, value in user_environment().items() if not name.startswith("AZURE_")}
    done = subprocess.run(
        [CLIENTS_PYTHON, "-I", SCRIPT, *arguments],
        env={**others, **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, re.sub(r"sig=[^&\s'\"]+", "sig=…", done.stdout + done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def work(live: Live, storage: WatchedStorage, client: str, seconds: float) -> dict[str, Any]:
    """Returns what a client did in so many seconds, and what storage saw of it."""
    storage.begin()
    found = _run(live, _LIFE, "work", client, str(seconds))
    return {
        **found,
        "tokens": len(storage.tokens),
        "requests": storage.requests,
        "refused": storage.refused,
        "unavailable": storage.unavailable,
    }


def table(say: Callable[[str], None], seconds: float) -> int:
    """Prints both tables, on a stack of its own; returns how many operations failed."""
    failed = 0
    proxies: list[WatchedStorage] = []
    with (
        tempfile.TemporaryDirectory() as name,
        live_stack(Path(name), connector=True, first=watched(proxies)) as live,
        ExitStack() as ending,
    ):
        live.allow(CONNECTOR)
        (storage,) = proxies
        ending.callback(lambda: live.running.call(storage.__aexit__(None, None, None)))
        say(
            f"\nEach for {seconds:g} s with tokens of {_LIFE} s that renew themselves, and one 503 as one is renewed.\n"
        )
        say("| client | operations (how often each) | tokens | requests | 503 | refused by storage | failed |")
        say("| --- | --- | --- | --- | --- | --- | --- |")
        for client in CLIENTS:
            found = work(live, storage, client, seconds)
            often = ", ".join(f"{name} {count}" for name, count in found["done"].items())
            refused, failures = found["refused"], found["failures"]
            row = (client, often, found["tokens"], found["requests"], found["unavailable"], len(refused), len(failures))
            say(f"| {' | '.join(map(str, row))} |")
            for line in (*failures[:3], *refused[:3]):
                say(f"    {line}")
            failed += len(failures)
        say("\n| client | what each operation needs |\n| --- | --- |")
        for client in CLIENTS:
            storage.begin()
            needs = _run(live, _LONG_LIFE, "letters", client)
            said = ", ".join(f"{what}: {' or '.join(sets)}" for what, sets in needs.items())
            say(f"| {client} | {said} |")
    return failed
