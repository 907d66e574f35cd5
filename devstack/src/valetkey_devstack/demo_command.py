"""`make demo`: the main job on real parts, told as a story. Ends with 0 when every step went as it must."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from valetkey_broker.errors import BrokerError, ConfigurationError
from valetkey_broker.observability.logging import configure_logging
from valetkey_devstack.broker_process import start_broker
from valetkey_devstack.consumer_load import load_on, new_secret
from valetkey_devstack.demo_data import DEMO_CONNECTOR, DEMO_RESOURCE, SecretFiles, add_demo_data
from valetkey_devstack.demo_storage_client import DemoFailedError, Storage
from valetkey_devstack.stack import DevStack

_SHORT_TTL_SECONDS = 8
_LATE_SECONDS = 1.5


class Story:
    """Runs commands as a user would, and shows them with what they print."""

    def __init__(self, stack: DevStack, secret_files: SecretFiles) -> None:
        self._stack = stack
        self._secret_files = secret_files
        folder = Path(sys.executable).parent
        self._command = shutil.which("valetkey", path=str(folder)) or "valetkey"

    def run(self, *arguments: str, as_consumer: bool = False, shown: bool = True, brief: bool = False) -> str:
        """Runs `valetkey` with `arguments` and returns its standard output; `brief` shows the command only.

        Raises DemoFailedError where it fails.
        """
        key = self._secret_files.consumer_key if as_consumer else self._secret_files.admin_key
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._stack.directory),
            "VALETKEY_ENDPOINT": f"127.0.0.1:{self._stack.ports.broker}",
            "VALETKEY_CA_FILE": str(self._stack.ca_file),
            "VALETKEY_API_KEY_FILE": str(key),
            "COLUMNS": "110",
        }
        if shown:
            typer.secho("  $ valetkey " + " ".join(self._brief(argument) for argument in arguments), dim=True)
        done = subprocess.run(
            [self._command, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise DemoFailedError(f"valetkey ended with {done.returncode}: {done.stderr.strip()}")
        if shown and not brief:
            for line in done.stdout.splitlines():
                typer.echo("  " + line)
        return done.stdout

    def _brief(self, argument: str) -> str:
        return argument.replace(str(self._stack.directory) + "/", "")


def main() -> None:
    """Runs the demo. Exit codes: 0 as it must, 1 not so."""
    began = time.monotonic()
    configure_logging("console", "warning", sys.stderr)
    with tempfile.TemporaryDirectory(prefix="valetkey-demo-") as directory:
        try:
            asyncio.run(_demo(DevStack(Path(directory))))
        except (DemoFailedError, ConfigurationError, BrokerError) as error:
            typer.secho(f"The demo failed: {error}", fg="red", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(130)
    typer.secho(f"\nAll as it must be, in {time.monotonic() - began:.0f} s; nothing is left running.", bold=True)
    typer.echo("ZenML runs on this, with no secret in any step; the commands of its page beside ours: docs/zenml.md")
    typer.echo("In the browser: make dev CONSOLE=1, then open the address that it prints; docs/console.md")


async def _demo(stack: DevStack) -> None:
    _chapter("1. A stack comes up: OpenBao, Azurite, a stand-in for Entra, Graph and ARM, and the broker")
    async with stack:
        secret_files = await add_demo_data(stack, connector=False)
        broker = await start_broker(stack)
        try:
            # The story blocks; the stand-in for Entra answers from this loop, so it must not.
            await asyncio.to_thread(_tell, stack, Story(stack, secret_files), secret_files)
        finally:
            await broker.stop(grace=15)


def _tell(stack: DevStack, story: Story, secret_files: SecretFiles) -> None:
    typer.echo(f"  ready in {stack.seconds:.1f} s, on loopback, with TLS everywhere")

    _chapter("2. Ops registers a service principal. Its secret goes into Vault, after a log-in has proved it")
    story.run(
        *("service-connector", "register", DEMO_CONNECTOR, "--type", "azure", "--auth-method", "service-principal"),
        *("--tenant-id", stack.tenant_id, "--client-id", stack.client_id),
        *("--client-secret", f"@{secret_files.client_secret}"),
        *("--resource-type", "blob-container", "--resource-id", DEMO_RESOURCE),
    )

    _chapter("3. Ops makes a key for a stack component, and grants it one container")
    secret_files.consumer_key.unlink(missing_ok=True)
    story.run("api-key", "create", "training-step", "--ttl", "1d", "--out", str(secret_files.consumer_key), brief=True)
    story.run(
        *("grant", "create", "training", "--principal", "key:training-step", "--connector", DEMO_CONNECTOR),
        *("--container", DEMO_RESOURCE.removeprefix("az://"), "--role", "step-operator", "--max-ttl", "1h"),
        brief=True,
    )

    _chapter("4. A remote component asks what it can reach, and for a token: one container, read and write, minutes")
    story.run("service-connector", "list-resources", "--resource-type", "blob-container", as_consumer=True)
    issue = ("token", "issue", "--resource", DEMO_RESOURCE, "--permissions", "read,list,create,write")
    story.run(*issue, "--ttl", "15m", "--purpose", "demo", as_consumer=True)
    token: dict[str, Any] = json.loads(
        story.run(*issue, "--ttl", f"{_SHORT_TTL_SECONDS}s", "-o", "json", as_consumer=True, shown=False)
    )
    expires = datetime.fromisoformat(token["expire_time"]).timestamp()

    _chapter("5. It works with azure-storage-blob and the token alone; the client secret never left the broker")
    container = Storage(stack, token["url"], token["sas_token"])
    container.write("models/v1.txt", "trained weights")
    typer.echo("  uploaded   models/v1.txt")
    if container.read("models/v1.txt") != "trained weights":
        raise DemoFailedError("what was read back is not what was written")
    typer.echo("  read back  models/v1.txt: the same bytes")

    _chapter("6. The storage service refuses what the token does not say")
    typer.echo(f"  delete the blob          → {container.refused('delete', 'models/v1.txt')}")
    other = Storage(stack, token["url"].replace("demo-zenmlartifactstore", "demo-models"), token["sas_token"])
    typer.echo(f"  read another container   → {other.refused('read', 'models/v1.txt')}")
    typer.echo(f"  … meanwhile ops rotates the client secret: {_rotated(stack, story, secret_files)} …")
    wait = max(0.0, expires - time.time() + 1.0)
    typer.echo(f"  … the {_SHORT_TTL_SECONDS} s of this token pass ({wait:.0f} s to go) …")
    time.sleep(wait)
    typer.echo(f"  read with the old token  → {container.refused('read', 'models/v1.txt')}")

    _chapter("7. And it is all on record")
    story.run("audit", "tail", "-n", "1")


def _rotated(stack: DevStack, story: Story, secret_files: SecretFiles) -> str:
    """Rotates to a secret that Entra knows late, while consumers go on; returns what they saw of it."""
    secret = new_secret(stack, stack.directory / "keys" / "new-secret", works_after=_LATE_SECONDS)
    with load_on(stack, secret_files, "models/v1.txt", "trained weights") as load:
        load.rounds(3)
        story.run("service-connector", "rotate", DEMO_CONNECTOR, "--client-secret", f"@{secret}", shown=False)
        load.rounds(3)
    seen = load.seen
    if seen.failures:
        raise DemoFailedError(f"consumers noticed the rotation: {seen.failures[0]}")
    return f"{seen.rounds} tokens and reads, 0 failed, longest gap {seen.longest_gap:.1f} s"


def _chapter(title: str) -> None:
    typer.secho(f"\n{title}", bold=True)


if __name__ == "__main__":
    main()
