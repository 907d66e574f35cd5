"""What works with a ZenML server that has our client, with one that has not, and with servers of an older release.

    make zenml-server

starts each of them in turn on a free port of loopback, has a client of the newest release do with it what docs/zenml.md
says of servers, and prints a table. Fails where that is not what the page says. `python -m bench.zenml_servers
newest-with …` takes some of them only.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from bench.clients_table import say
from support.children import start, unmeasured
from support.e2e import DEMO, soon, user_environment
from support.pods import SCRIPTS
from support.scraping import get
from support.zenml import ZenML
from support.zenml_stack import FLAVOR, STORE, ZenMLStack, zenml_stack
from valetkey_devstack.free_ports import free_port

ENVIRONMENTS = Path(__file__).parents[2] / ".venv-zenml-servers"
SERVERS = ("newest-without", "newest-with", "older-without", "older-with")
PATIENCE = 600.0
OK = 200
VISUALISATION, LOGS, DELETION = "visualisation", "logs", "deletion by the server"
REFUSED = f"{DELETION}, whose grant has no delete"


@dataclass(frozen=True)
class Server:
    """One that runs. `client` is a user of it, whose grant lets it write and delete."""

    name: str
    version: str
    client: ZenML


def answers(port: int) -> bool:
    """Tells whether a server is ready."""
    try:
        return get(port, "/ready")[0] == OK
    except OSError:
        return False


def version(port: int) -> str:
    """Returns which ZenML a server is."""
    return str(json.loads(get(port, "/api/v1/info")[1])["version"])


def variables(folder: Path, identity: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a server that needs no log-in and keeps all that it has in `folder`."""
    given = {
        "HOME": str(folder),
        "ZENML_CONFIG_PATH": str(folder / "zenml"),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_STORE_TYPE": "sql",
        "ZENML_STORE_URL": f"sqlite:///{folder}/server.db",
        # ZenML asks for this one by its presence, too.
        "ZENML_SERVER": "1",
        "ZENML_SERVER_ID": str(uuid4()),
        "ZENML_SERVER_DEPLOYMENT_TYPE": "local",
        "ZENML_SERVER_AUTH_SCHEME": "NO_AUTH",
        "ZENML_SERVER_AUTO_ACTIVATE": "1",
        **identity,
    }
    others = {name: value for name, value in user_environment(given).items() if not name.startswith("AZURE_")}
    return unmeasured(others)


@contextmanager
def running_server(live: ZenMLStack, name: str, folder: Path) -> Iterator[Server]:
    """Runs one, whose identity is a service account of its own, in case it has our client."""
    folder.mkdir()
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", folder / "server.log"
    command = [ENVIRONMENTS / name / "bin" / "python", "-m", "uvicorn", "zenml.zen_server.zen_server_api:app"]
    with log.open("wb") as output:
        process = start(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=variables(folder, live.identity(f"server-{name}")),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        assert soon(lambda: answers(port) or process.poll() is not None, PATIENCE, pause=1), log.read_text()
        assert process.poll() is None, log.read_text()
        user = live.new_user(ZENML_STORE_TYPE="rest", ZENML_STORE_URL=url, **live.identity(f"client-{name}"))
        yield Server(name, version(port), user)
    finally:
        process.terminate()
        process.wait(60)


def lines(live: ZenMLStack) -> dict[str, tuple[str, ...]]:
    """Returns what docs/zenml.md has people type, by what it is."""
    connector = (
        *("service-connector", "register", "vk", "--type", "valetkey", "--auth-method", "identity"),
        f"--endpoint={live.way['VALETKEY_ENDPOINT']}",
        f"--ca_certificate=@{live.way['VALETKEY_CA_FILE']}",
        *("--resource-type", "blob-container"),
    )
    store = ("artifact-store", "register", "az_store", "-f", "valetkey", f"--path={STORE}")
    return {
        "flavor": ("artifact-store", "flavor", "register", FLAVOR),
        "connector": connector,
        "list-resources": ("service-connector", "list-resources", "--resource-type", "blob-container"),
        "verify": ("service-connector", "verify", "vk"),
        "store": (*store, f"--storage_ca_file={live.stack.ca_file}"),
        "connect": ("artifact-store", "connect", "az_store", "--connector", "vk"),
        "stack": ("stack", "register", "remote", "-a", "az_store", "-o", "default", "--set"),
    }


def tried(live: ZenMLStack, server: Server, folder: Path) -> dict[str, str]:
    """Does all of it with one server; returns what came of each, `done` or what was said instead."""
    live.grant(f"client-{server.name}", "--role", "step-operator-with-delete", ttl="1h")
    live.grant(f"server-{server.name}", "--role", "deployer", ttl="1h")
    typed = server.client.typed(lines(live), folder / "typed.json")
    found = {what: "done" if code == 0 else typed.said[what] for what, code in typed.codes.items()}
    for what in ("list-resources", "verify"):
        if DEMO not in typed.said[what]:
            found[what] = typed.said[what]

    def asked(part: str) -> dict[str, str]:
        file = folder / f"{part}.json"
        ran = server.client.run(SCRIPTS / "served.py", part, str(file))
        assert ran.code == 0, ran
        said: dict[str, str] = json.loads(file.read_text())
        return said

    found |= asked("run")
    live.grant(f"server-{server.name}", "--permissions", "read,list,delete", ttl="1h")
    return found | asked("delete")


def expected(which: str) -> dict[str, str]:
    """Returns what does not work with a server, as docs/zenml.md says, and a word of what is said then."""
    ours = which.endswith("-with")
    found = {} if ours else {VISUALISATION: "instantiate", LOGS: "No module named 'valetkey'"}
    if which.startswith("older"):
        # It does not know that it is to delete data: it forgets the artifact, and says that all is well.
        return {**found, DELETION: "is still there", REFUSED: "is still there"}
    return {**found, REFUSED: "no grant lets"} if ours else {**found, DELETION: "instantiate", REFUSED: "instantiate"}


def wrong(which: str, found: Mapping[str, str]) -> list[str]:
    """Returns what is not as expected of a server."""
    words = expected(which)
    return [
        f"{which}: {what}: {said}; expected {words.get(what, 'done')}"
        for what, said in found.items()
        if (words[what] not in said if what in words else said != "done")
    ]


def main() -> int:
    """Runs all of it on a stack of its own; returns the exit code."""
    results: dict[str, dict[str, str]] = {}
    titles: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="zenml-servers-") as name, zenml_stack(Path(name)) as live:
        for which in sys.argv[1:] or SERVERS:
            folder, began = Path(name, which), time.monotonic()
            with running_server(live, which, folder) as server:
                titles[which] = f"{server.version}, {which.partition('-')[2]} `valetkey`"
                results[which] = tried(live, server, folder)
            say(f"{titles[which]}: {time.monotonic() - began:.0f} s")
    say(f"\n| | {' | '.join(titles.values())} |\n|{' --- |' * (len(titles) + 1)}")
    for what in next(iter(results.values())):
        cells = ("yes" if each[what] == "done" else "no" for each in results.values())
        say(f"| {what} | {' | '.join(cells)} |")
    say("\nWhat was said instead:")
    for which, found in results.items():
        for what, said in found.items():
            if said != "done":
                say(f"  {titles[which]}: {what}: {' '.join(said.split())[:400]}")
    failed = [line for which, each in results.items() for line in wrong(which, each)]
    for line in failed:
        say(f"NOT AS docs/zenml.md SAYS: {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
