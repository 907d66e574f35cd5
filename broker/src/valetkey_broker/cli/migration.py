"""`valetkey-broker migrate`: the ledger's tables, made or changed before any broker of this version serves."""

from pathlib import Path

import typer

from valetkey_broker.ledger import migrate_ledger
from valetkey_broker.settings import check_files, make_settings, read_values


def migrate_and_say(config: Path, grant_to: str) -> None:
    """Prints what there is now. Raises ConfigurationError, also for whatever else is wrong with the settings.

    Of the files that they name only the ledger's are looked at: where this runs, there need be no key and no login.
    """
    settings = make_settings(read_values(config), config)
    check_files(settings, config, {name: file for name, file in settings.files().items() if name.startswith("ledger.")})
    typer.echo(migrate_ledger(settings.ledger, grant_to))
