"""`valetkey proxy` and `valetkey exec` on a whole stack, as a user runs them, with tokens of 8 s."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.long_job import agent_file, reader, renewing
from support.e2e import CONNECTOR, DEMO, Live
from support.network import Network
from support.proxied import PERMISSIONS, proxied, result

LONGER_THAN_A_TOKEN = 11.0


@pytest.fixture(scope="module")
def connected(live: Live, registered: object) -> Live:
    """The stack with its demo connector."""
    live.allow(CONNECTOR)
    return live


@pytest.fixture
def network(connected: Live) -> Iterator[Network]:
    """A network between the client and the broker."""
    between = Network(connected.admin.environment["VALETKEY_ENDPOINT"])
    yield between
    between.close()


def status(url: str, *arguments: str) -> str:
    """Returns what curl gets for a URL: its status."""
    done = subprocess.run(
        ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", *arguments, url],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_clients_without_a_hook_outlive_their_tokens(connected: Live, tmp_path: Path) -> None:
    """Curl and Azure's SDK work across several tokens, and Arrow, delta-rs and rclone do all they can do."""
    with proxied(connected, directory=tmp_path) as proxy:
        long, short = ("curl", "azure_storage_blob"), ("pyarrow", "deltalake", "rclone")
        running = {name: proxy.client(name, LONGER_THAN_A_TOKEN) for name in long}
        running |= {name: proxy.client(name, 0) for name in short}
        found = {name: result(process) for name, process in running.items()}
        proxy.end()
    assert {name: each["failures"] for name, each in found.items()} == {name: [] for name in found}
    assert proxy.counts["tokens"] >= 2
    assert proxy.counts["refused"] == 0
    assert proxy.counts["requests"] > sum(sum(each["done"].values()) for each in found.values()) / 2


def test_adapters_and_the_agent_outlive_their_tokens(connected: Live, tmp_path: Path) -> None:
    """Our adapters, and who reads the agent's files, work across tokens; `make long-job` does so for ten minutes."""
    clients = ("azure_storage_blob", "fsspec", "obstore", "polars")
    with agent_file(connected, tmp_path, 8) as file:
        running = {name: renewing(connected, name, LONGER_THAN_A_TOKEN, 8) for name in clients}
        running["agent"] = reader(connected, file, LONGER_THAN_A_TOKEN)
        found = {name: result(process)["failures"] for name, process in running.items()}
    assert found == {name: [] for name in running}


def test_the_old_token_serves_while_the_broker_is_away(connected: Live, network: Network, tmp_path: Path) -> None:
    """A restart of the broker goes unnoticed; an outage that outlives the token is told, and gone when it is over."""
    through = Live(
        connected.running, connected.secret_files, connected.broker, connected.cli(VALETKEY_ENDPOINT=network.endpoint)
    )
    with proxied(through, directory=tmp_path) as proxy:
        where, _, query = proxy.said["container_url"].partition("?")
        url = f"{where}/old?{query}"
        put = ("-X", "PUT", "-H", "x-ms-blob-type: BlockBlob", "-d", "x")
        assert status(url, *put) == "201"
        network.down()
        assert status(url, *put) == "201"
        deadline = time.monotonic() + 60
        while (last := status(url, *put)) == "201" and time.monotonic() < deadline:
            time.sleep(0.5)
        assert last == "503"
        network.up()
        while (last := status(url, *put)) != "201" and time.monotonic() < deadline:
            time.sleep(0.5)
        assert last == "201"
        # Guessed, and another container.
        assert status(url.replace("sig=", "sig=0"), *put) == "403"
        assert status(url.replace("demo-zenmlartifactstore", "demo-datasets")) == "403"


def test_exec_runs_a_command_through_the_proxy(connected: Live) -> None:
    """One line before a command is all that a script needs."""
    script = 'curl -sf "$VALETKEY_STORAGE_URL?restype=container&comp=list&$AZURE_STORAGE_SAS_TOKEN" && exit 7'
    ran = connected.admin(
        *("exec", "--resource", DEMO, "--permissions", PERMISSIONS, "--storage-ca-file", connected.stack.ca_file),
        *("--", "sh", "-c", script),
    )
    assert (ran.code, "<EnumerationResults" in ran.out) == (7, True)
