"""`make rotation-load`: rotates a connector to each kind of credential under load, and says what consumers saw of it.

Consumers ask for tokens, and write and read blobs with them. Entra knows a new secret 4 s late. Then a secret that two
connectors share is rotated, and a broker is killed and Vault sealed amid a rotation: rotation_faults.py. Ends with 0
where no call failed and every rotation was made.
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
from valetkey.values import AzureConfig, GrantSpec
from valetkey_broker.errors import BrokerError, ConfigurationError
from valetkey_broker.observability.logging import configure_logging
from valetkey_devstack.broker_process import start_broker
from valetkey_devstack.consumer_load import client_of, new_secret, writing_load_on
from valetkey_devstack.demo_data import (
    CONSUMER,
    DEMO_ACCOUNT,
    DEMO_CONNECTOR,
    DEMO_RESOURCE,
    SecretFiles,
    add_demo_data,
)
from valetkey_devstack.demo_storage_client import DemoFailedError
from valetkey_devstack.rotation_amid_outages import followed, report, through_faults, told
from valetkey_devstack.stack import DevStack

_LATE_SECONDS = 4.0
_SHARED = "shared"
_SHARING = ("shared-a", "shared-b")
_BLOB = "rotation/blob"
_ROUNDS_AFTER = 30
# Within two polls both workers have heard of a grant.
_HEARD_OF_SECONDS = 5.0


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
            good = await asyncio.to_thread(_tell, stack, files, secret)
            shared = await asyncio.to_thread(_tell_shared, stack, files)
            return await through_faults(stack, files) and good and shared
        finally:
            await broker.stop(grace=15)


def _tell(stack: DevStack, files: SecretFiles, secret: str) -> bool:
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
        good.append(
            _rotated(stack, files, "a secret that Entra makes", partial(admin.rotate_by_itself, DEMO_CONNECTOR))
        )
        good.append(_rotated(stack, files, "the one before", partial(admin.rollback_credential, DEMO_CONNECTOR)))
    return all(good)


def _tell_shared(stack: DevStack, files: SecretFiles) -> bool:
    """Rotates a named secret that two connectors use, with consumers on both."""
    with client_of(stack, files.admin_key) as admin:
        azure = AzureConfig(tenant_id=stack.tenant_id, client_id=stack.client_id)
        admin.create_secret(_SHARED, azure=azure, secrets={"client_secret": stack.client_secret.reveal()})
        container = DEMO_RESOURCE.removeprefix("az://")
        for name in _SHARING:
            admin.create_connector(name, authentication_secret=_SHARED, resource_id=DEMO_RESOURCE)
            role = GrantSpec(
                principals=[CONSUMER], connectors=[name], containers=[container], consumer_role="step-operator"
            )
            admin.create_grant(name, role)
        time.sleep(_HEARD_OF_SECONDS)
        with writing_load_on(stack, files, _BLOB, connector=_SHARING[1]) as other:
            begin = partial(admin.rotate_by_itself, _SHARED, holder="secret")
            good = _rotated(stack, files, "another of two, made by Entra", begin, _SHARED, _SHARING[0])
        report(f"  (the other connector: {told(other.seen)})", other.seen.failures)
    return good and not other.seen.failures


def _rotated(
    stack: DevStack,
    files: SecretFiles,
    what: str,
    begin: Callable[[], object],
    secret: str = "",
    connector: str | None = None,
) -> bool:
    """Rotates under load, prints a line, and tells whether nobody noticed."""
    with writing_load_on(stack, files, _BLOB, connector=connector) as load:
        load.rounds(_ROUNDS_AFTER)
        before = load.seen
        began = time.monotonic()
        begin()
        state = followed(stack, files, secret).state
        took = time.monotonic() - began
        load.rounds(_ROUNDS_AFTER)
    seen = load.seen
    line = f"  to {what:36} {state} after {took:4.1f} s · {told(seen)} (before: {before.longest_gap * 1000:.0f} ms)"
    report(line, seen.failures)
    return state == "done" and not seen.failures


if __name__ == "__main__":
    main()
