"""`valetkey-broker migrate`: the ledger's tables, made or changed before any broker of this version serves."""

from pathlib import Path

import typer

from valetkey_broker.ledger import migrate_ledger
from valetkey_broker.settings import load_settings


def migrate_and_say(config: Path, grant_to: str) -> None:
    """Prints what there is now. Raises ConfigurationError, also for whatever else is wrong with the settings."""
    settings = load_settings(config)
    typer.echo(migrate_ledger(settings.ledger, grant_to))
