"""Nothing leaks: over a whole run of a stack its secrets stand in no log, no argument, no foreign environment."""

import re
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from support.dev_command import Dev, dev
from support.e2e import CONNECTOR, DEMO, user_environment
from support.processes import all_processes, read_process
from support.token_commands import eventually
from support.worker_news import wait_until_heard

WRONG = "planted~wrong.client.secret_0123456789"


class Watch:
    """Keeps what /proc shows of all processes, time and again, until it is stopped."""

    def __init__(self) -> None:
        self.arguments: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self.arguments.update(read_process(pid, "cmdline") for pid in all_processes())


def test_secrets_stay_where_they_belong(tmp_path: Path) -> None:
    """Client secrets, API keys and SAS signatures: not in the logs of the broker, OpenBao or Azurite, not in any
    process's arguments or environment, and in no file but those that hold just them.
    """
    with dev(tmp_path / "stack", "--workers", "2", VALETKEY_BROKER_LOGGING__LEVEL="debug") as stack:
        stack.wait_until_ready()
        watch = Watch()
        try:
            secrets = _run_all_commands(stack)
        finally:
            watch.stop()
        environments = [read_process(pid, "environ") for pid in (stack.process.pid, *stack.tree())]
        assert len(environments) >= 6
        assert all(environments)
        time.sleep(0.5)  # What the last calls log.
        stack.press_ctrl_c()
        assert stack.ended() == 0

    logs = {path.name: path.read_bytes() for path in (stack.directory / "logs").iterdir()}
    assert {"broker.log", "openbao.log", "azurite.log"} <= set(logs)
    ledger = b"".join(path.read_bytes() for path in stack.directory.glob("ledger.db*"))
    assert b"token-issued" in ledger
    assert b"/valetkey.v1.GrantService/CreateGrant" in logs["broker.log"]
    assert b"AADSTS7000215" in logs["broker.log"]
    screen = {"stdout": stack.out.encode(), "stderr": stack.err.encode()}
    keys = stack.directory / "keys"
    files = {
        str(path.relative_to(stack.directory)): path.read_bytes()
        for path in stack.directory.rglob("*")
        if path.is_file() and keys not in path.parents
    }
    assert len(files) > 10
    arguments = {"arguments": b"\n".join(watch.arguments), "environments": b"\n".join(environments)}
    assert b"service-connector" in arguments["arguments"]
    assert _found(secrets, {"control": b" ".join(file.read_bytes() for file in keys.iterdir())})
    # Azurite takes the keys of its accounts from its environment, and from nowhere else.
    assert _found(secrets, {**logs, **screen, **files, **arguments}) == [("account-key", "environments")]

    # What the parts have among themselves has its one place each.
    environment = arguments.pop("environments")
    (accounts,) = re.findall(rb"AZURITE_ACCOUNTS=([^\0]+)", environment)
    for account in accounts.decode().split(";"):
        own = {account.partition(":")[0]: account.partition(":")[2]}
        assert _found(own, {**logs, **screen, **files, **arguments}) == []
    headers = {header.decode() for header in re.findall(rb"IDENTITY_HEADER=([^\0]+)", environment)}
    assert len(headers) == 1
    assert _found(dict.fromkeys(("identity header",), *headers), {**logs, **screen, **files, **arguments}) == []
    for name in ("secret_id", "role_id"):
        place = f"openbao/{name}"
        own = {name: files[place].decode().strip()}
        assert _found(own, {**logs, **screen, **files, **arguments}) == [(name, place)]


def _found(secrets: Mapping[str, str], places: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Returns which secret stands where, by name."""
    return [
        (name, place)
        for name, secret in secrets.items()
        for place, content in places.items()
        if secret.encode() in content
    ]


def _run_all_commands(stack: Dev) -> dict[str, str]:
    """Runs every kind of command, some of which fail, and returns all the secrets that took part, by name."""
    valetkey = stack.cli()
    keys = stack.directory / "keys"
    secrets = {file.name: file.read_text().strip() for file in keys.iterdir()}
    assert set(secrets) == {
        *(
            "admin",
            "consumer",
            "client-secret",
            "client-secret-2",
            "account-key",
            "connection-string",
            "client-certificate.pem",
        )
    }
    # A line of the key is as much of a secret, and what a file is cut into.
    secrets["client-certificate.pem"] = secrets["client-certificate.pem"].partition("PRIVATE KEY")[2].split("\n")[10]
    principal = next(line.split()[:4] for line in stack.out.splitlines() if line.startswith("  --tenant-id"))
    register = ("service-connector", "register")
    ran = [
        valetkey(*register, "from-file", *principal, "--client-secret", f"@{keys / 'client-secret'}"),
        valetkey(*register, "from-stdin", *principal, "--client-secret", "-", stdin=secrets["client-secret"]),
        valetkey(*register, "from-env", *principal, VALETKEY_CLIENT_SECRET=secrets["client-secret"]),
        valetkey(*register, "certified", *principal, "--client-certificate", f"@{keys / 'client-certificate.pem'}"),
        valetkey(*register, "the-brokers-own", "--implicit-source", "managed-identity"),
        valetkey(
            *register, "by-key", "--storage-account", "demomlstorage", "--account-key", f"@{keys / 'account-key'}"
        ),
        valetkey(*register, "by-string", VALETKEY_CONNECTION_STRING=secrets["connection-string"]),
        # The other worker learns of a change within a second or so.
        eventually(lambda: valetkey("service-connector", "describe", "by-string")),
        valetkey("service-connector", "list-resources"),
        valetkey("service-connector", "delete", "from-stdin", "--yes"),
    ]
    assert [each.code for each in ran] == [0] * len(ran)
    eventually(lambda: valetkey("service-connector", "verify", "from-file"))
    failed = [
        valetkey(*register, "wrong", *principal, VALETKEY_CLIENT_SECRET=WRONG),
        valetkey(*register, "from-env", *principal, VALETKEY_CLIENT_SECRET=WRONG),
        # Secrets pasted into the wrong place: refused, and not repeated in any log.
        valetkey("token", "issue", "--resource", DEMO, "--permissions", "read", VALETKEY_API_KEY=f"vk_{WRONG}"),
    ]
    assert all(each.code for each in failed)
    made = valetkey.done("api-key", "create", "spare", "-o", "json")
    valetkey.done(
        *("grant", "create", "spare", "--principal", "key:spare", "--connector", CONNECTOR),
        *("--container", DEMO.removeprefix("az://"), "--role", "deployer"),
    )
    issue = ("token", "issue", "--resource", DEMO, "--permissions", "read,list")
    wait_until_heard(stack.directory / "broker.toml", time.monotonic())
    tokens = [
        valetkey.done(*issue, "--connector", CONNECTOR, "-o", "json").json["sas_token"],
        valetkey.done(*issue, "-o", "sas", VALETKEY_API_KEY=made.json["api_key"]).out.strip(),
    ]
    secrets["spare"] = made.json["api_key"]
    valetkey.done("api-key", "revoke", "spare", "--yes")
    account = valetkey.done(*issue, "--connector", CONNECTOR, "-o", "json").json["url"]
    for number, token in enumerate(tokens):
        _use(f"{account}?restype=container&comp=list&{token}", valetkey.environment["VALETKEY_CA_FILE"])
        signature = token.rpartition("sig=")[2]
        assert len(signature) > 40
        secrets[f"signature {number}"] = signature
        secrets[f"decoded signature {number}"] = unquote(signature)
    shown = "".join(each.out + each.err for each in [*ran, *failed])
    assert not any(secret in shown for secret in [*secrets.values(), WRONG])
    return {**secrets, "wrong": WRONG}


def _use(url: str, ca_file: str) -> None:
    """Lists a container in a process of its own, which takes the URL from standard input."""
    program = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
assert opener.open(sys.stdin.read(), timeout=20).status == 200
"""
    subprocess.run(
        ["python3", "-c", program, ca_file], env=user_environment(), input=url, text=True, check=True, timeout=60
    )
