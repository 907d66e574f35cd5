"""`valetkey-broker bootstrap`: the first admin key, on record in the ledger."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TextIO

import typer
import uvloop

from valetkey_broker.authn.api_key_admin import BOOTSTRAP
from valetkey_broker.cli.change_begun_event import change_begun_event
from valetkey_broker.errors import ConfigurationError, UnrecordedOutcomeError
from valetkey_broker.model import Role
from valetkey_broker.observability.logging import configure_logging
from valetkey_broker.recording import Changes
from valetkey_broker.settings import Settings, load_settings


def hand_out_first_key(config: Path, name: str, days: int, out: Path | None) -> None:
    """Makes the key, and prints it or writes it into the new file `out`."""
    settings = load_settings(config)
    configure_logging(settings.logging.format, settings.logging.level, sys.stderr)  # Standard output is the key's.
    life = timedelta(days=days)
    if out is None:
        typer.echo(uvloop.run(bootstrap(settings, name, life)))
        typer.echo("Keep this admin key safe: it is not shown again.", err=True)
        return
    with _new_private_file(out) as file:  # Before the key is made: it could be shown nowhere afterwards.
        file.write(uvloop.run(bootstrap(settings, name, life)) + "\n")
    typer.echo(f"The admin key is in {out}; it is kept nowhere else.", err=True)


async def bootstrap(settings: Settings, name: str, life: timedelta) -> str:
    """Makes the key and returns it; Vault keeps only its hash."""
    # Everything else comes in here: neither a wrong setting nor a file that cannot be written has to wait for it.
    from valetkey_broker.app import open_core  # noqa: PLC0415

    async with open_core(settings) as core:
        await core.store.open()
        await core.repository.load()
        await core.ledger.open()
        begun = change_begun_event(core.clock(), "valetkey-broker bootstrap", BOOTSTRAP, f"api-keys/{name}")
        begun = replace(begun, details={"roles": Role.ADMIN.value, "life": f"{life.total_seconds():.0f}s"})
        make, revoke = core.api_keys.bootstrap, core.api_keys.revoke
        try:
            _, secret = await Changes(core.ledger, core.clock).make(
                begun,
                partial(make, name, life),
                # Nobody has seen its secret then, and an admin key stands in the way of the next try.
                undo=partial(revoke, name, revoked_by=BOOTSTRAP),
            )
        except UnrecordedOutcomeError as error:
            raise error.reworded(f"the key {name} was made and revoked again, for {error.message}") from None
        return secret.reveal()


@contextlib.contextmanager
def _new_private_file(path: Path) -> Iterator[TextIO]:
    """Gives a new file that only its owner can read, and takes it away where the work with it fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists already; expected a new file, so that no key is overwritten") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        try:
            yield file
        except BaseException:
            path.unlink(missing_ok=True)
            raise
