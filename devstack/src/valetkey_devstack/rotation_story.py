"""`make rotation-load`: rotates a connector to each kind of credential under load, and says what consumers saw of it.

Entra knows a new secret 4 s late. Ends with 0 where no call failed and every rotation was made.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import typer

from valetkey.errors import ValetKeyError
from valetkey_broker.errors import BrokerError, ConfigurationError
from valetkey_broker.observability.logging import configure_logging
from valetkey_devstack.broker_process import start_broker
from valetkey_devstack.demo_data import DEMO_ACCOUNT, DEMO_CONNECTOR, DEMO_RESOURCE, SecretFiles, add_demo_data
from valetkey_devstack.demo_storage import DemoFailedError, Storage
from valetkey_devstack.rotation_load import client_of, load_on, new_secret
from valetkey_devstack.stack import DevStack

_LATE_SECONDS = 4.0
_FOLLOWED_SECONDS = 90.0
_BLOB = ("rotation/blob", "data")
_ROUNDS_AFTER = 30


def put_blob(stack: DevStack, files: SecretFiles) -> None:
    """Writes the blob that consumers read."""
    with client_of(stack, files.consumer_key) as client:
        token = client.issue_token(DEMO_RESOURCE, ["create", "write"])
    Storage(stack, token.url, token.sas_token).write(*_BLOB)


def main() -> None:
    """Runs it. Exit codes: 0 as it must, 1 not so."""
    configure_logging("console", "error", sys.stderr)
    with tempfile.TemporaryDirectory(prefix="valetkey-rotation-") as directory:
        try:
            good = asyncio.run(_run(DevStack(Path(directory))))
        except (DemoFailedError, ConfigurationError, BrokerError, ValetKeyError) as error:
            typer.secho(f"It failed: {error}", fg="red", err=True)
            sys.exit(1)
    sys.exit(0 if good else 1)


async def _run(stack: DevStack) -> bool:
    async with stack:
        files = await add_demo_data(stack)
        broker = await start_broker(stack, workers=2)
        try:
            secret = new_secret(stack, stack.directory / "keys" / "new-secret", works_after=_LATE_SECONDS).read_text()
            return await asyncio.to_thread(_tell, stack, files, secret)
        finally:
            await broker.stop(grace=15)


def _tell(stack: DevStack, files: SecretFiles, secret: str) -> bool:
    put_blob(stack, files)
    principal = {"tenant_id": stack.tenant_id, "client_id": stack.client_id}
    account_key = files.account_key.read_text()
    kinds: dict[str, dict[str, Any]] = {
        f"another secret, known to Entra {_LATE_SECONDS:g} s late": {"secrets": {"client_secret": secret}},
        "a certificate": {"secrets": {"client_certificate": files.client_certificate.read_text()}},
        "an account key": {
            "auth_method": "account-key",
            "azure": {"storage_account": DEMO_ACCOUNT},
            "secrets": {"account_key": account_key},
        },
        "a managed identity": {
            "auth_method": "implicit",
            "azure": {"implicit_source": "managed-identity"},
            "secrets": {},
        },
        "a secret again": {
            "auth_method": "service-principal",
            "azure": principal,
            "secrets": {"client_secret": secret},
        },
    }
    with client_of(stack, files.admin_key) as admin:
        good = [
            _rotated(stack, files, what, partial(admin.rotate_credential, DEMO_CONNECTOR, **given))
            for what, given in kinds.items()
        ]
        good.append(_rotated(stack, files, "the one before", partial(admin.rollback_credential, DEMO_CONNECTOR)))
    return all(good)


def _rotated(stack: DevStack, files: SecretFiles, what: str, begin: Callable[[], object]) -> bool:
    """Rotates under load, prints a line, and tells whether nobody noticed."""
    with load_on(stack, files, *_BLOB) as load:
        load.rounds(_ROUNDS_AFTER)
        before = load.seen
        began = time.monotonic()
        begin()
        state = followed(stack, files)
        took = time.monotonic() - began
        load.rounds(_ROUNDS_AFTER)
    seen = load.seen
    typer.echo(
        f"  to {what:36} {state} after {took:4.1f} s · {seen.rounds} tokens and reads, {len(seen.failures)} failed · "
        f"longest gap {seen.longest_gap * 1000:.0f} ms (before: {before.longest_gap * 1000:.0f} ms)"
    )
    for failure in seen.failures[:3]:
        typer.echo(f"    {failure}")
    return state == "done" and not seen.failures


def followed(stack: DevStack, files: SecretFiles) -> str:
    """Returns the state in which the rotation of the demo's connector ended, or where it still is."""
    with client_of(stack, files.admin_key) as admin:
        end = time.monotonic() + _FOLLOWED_SECONDS
        while not (rotation := admin.get_rotation(DEMO_CONNECTOR)).ended and time.monotonic() < end:
            time.sleep(0.2)
    return rotation.state


if __name__ == "__main__":
    main()
