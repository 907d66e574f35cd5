"""The options of `valetkey-broker dev`."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from valetkey_broker.observability.logging import configure_logging
from valetkey_devstack.dev_session import prepare_stack, run_dev
from valetkey_devstack.stack import DevStack, Ports

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def run(arguments: Sequence[str], *, program: str) -> None:
    """Runs the command with `arguments`; `program` is how usage lines call it. Ends the process."""
    app(list(arguments), prog_name=program)


@app.command()
def dev(
    directory: Annotated[Path, typer.Option(help="Where the stack keeps its files.")] = Path(".valetkey-dev"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the broker; 0 takes a free one.")] = 8443,
    openbao_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of OpenBao; 0 takes a free one.")] = 0,
    azurite_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of Azurite; 0 takes a free one.")] = 0,
    control_plane_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the stand-in for Entra, Graph and ARM; 0 takes a free one.")
    ] = 0,
    console: Annotated[
        bool, typer.Option("--console", help="Also start the console in the browser, and print its address.")
    ] = False,
    console_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the console; 0 takes a free one.")
    ] = 8480,
    workers: Annotated[int, typer.Option(min=1, max=8, help="Workers of the broker.")] = 1,
    extra_settings: Annotated[
        Path | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="TOML file with settings to add: issuers, client certificates, roles, a ledger, limits. "
            "Relative paths in it start at it; see docs/authentication.md.",
        ),
    ] = None,
    prepare: Annotated[bool, typer.Option("--prepare", help="Only install what the stack needs, then end.")] = False,
) -> None:
    """Runs a whole stack on this machine: OpenBao, Azurite, a stand-in for Entra, Graph and ARM, a broker, data."""
    if prepare:
        prepare_stack()
        return
    configure_logging("console", "warning", sys.stderr)
    chosen = {"broker": port, "openbao": openbao_port, "azurite": azurite_port, "control_plane": control_plane_port}
    if console:
        chosen["console"] = console_port
    ports = Ports(**{part: number for part, number in chosen.items() if number})
    stack = DevStack(directory, ports=ports, extra_settings=extra_settings, progress=_progress)
    sys.exit(asyncio.run(run_dev(stack, workers=workers, with_console=console)))


def _progress(line: str) -> None:
    typer.echo(line, err=True)
