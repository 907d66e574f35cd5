"""`valetkey-broker check-state`: what is half done in Vault, and its repair, on record in the ledger."""

import sys
from pathlib import Path

import typer
import uvloop

from valetkey_broker.app import open_core
from valetkey_broker.cli.change_begun_event import change_begun_event
from valetkey_broker.observability.logging import configure_logging
from valetkey_broker.recording import Changes
from valetkey_broker.settings import Settings, load_settings
from valetkey_broker.state.consistency_inspection import Inspection

CHECK_STATE = "check-state"
"""Who repairs what `check-state` found: nobody that could be authenticated."""


def findings_left(config: Path, *, repair: bool) -> int:
    """Prints what is half done, mends it if that is wanted, and returns how many findings are left."""
    settings = load_settings(config)
    configure_logging(settings.logging.format, settings.logging.level, sys.stderr)
    return uvloop.run(_check(settings, repair=repair))


async def _check(settings: Settings, *, repair: bool) -> int:
    left = 0
    async with open_core(settings) as core:
        await core.store.open()
        if repair:
            await core.ledger.open()
        inspection = Inspection(core.store, core.repository, CHECK_STATE)
        async for finding in inspection.findings(2 * settings.vault.poll_seconds + 1.0):
            typer.echo(f"{finding.path}: {finding.what}")
            if repair and finding.repair is not None:
                begun = change_begun_event(
                    core.clock(), "valetkey-broker check-state --repair", CHECK_STATE, finding.path
                )
                await Changes(core.ledger, core.clock).make(begun, finding.repair)
                typer.echo("  repaired")
            else:
                left += 1
                typer.echo(f"  {finding.remedy}")
    typer.echo("Nothing is half done." if not left else f"{left} found; see docs/changes.md.", err=bool(left))
    return left
