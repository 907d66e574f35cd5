"""`valetkey proxy`: an address on this machine at which any tool reaches storage, and whose token never ends."""

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valetkey.atomic_files import write_whole
from valetkey.cli import proxy_options as options
from valetkey.cli import token_options
from valetkey.cli.screen import Screen
from valetkey.cli.tool_access import FORMS, ToolAccess

if TYPE_CHECKING:
    from valetkey.proxy import SigningProxy


class PasteFormat(StrEnum):
    """For which tool it is shown."""

    TABLE = "table"
    JSON = "json"
    ENV = "env"
    RCLONE = "rclone"
    RCLONE_CONF = "rclone-conf"
    AZCOPY = "azcopy"
    DUCKDB = "duckdb"
    CURL = "curl"


def proxy(
    context: typer.Context,
    *,
    resource: options.Resource,
    permissions: options.Permissions = options.DEFAULT_PERMISSIONS,
    ttl: options.Ttl = None,
    connector: token_options.Connector = None,
    purpose: token_options.Purpose = None,
    port: options.Port = 0,
    port_file: Annotated[
        str | None,
        typer.Option(help="File that gets the port's number as soon as it is served.", show_default=False),
    ] = None,
    storage_ca_file: options.StorageCaFile = None,
    output: Annotated[
        PasteFormat,
        typer.Option("--output", "-o", help="What to show: all of it, or what one tool takes; env is for a shell."),
    ] = PasteFormat.TABLE,
) -> None:
    """Serve storage on 127.0.0.1 for tools that cannot renew a token: this proxy signs what they send, and renews.

    It says where it listens and what each tool takes, and runs until SIGTERM or Ctrl-C; what is under way then has
    30 s to end. It takes requests for the one resource only, from whoever shows the SAS token that it printed: that
    one means nothing to storage, and ends with the process.
    """
    screen = Screen(as_json=output is PasteFormat.JSON)
    wanted = options.Wanted(resource=resource, permissions=permissions, ttl=ttl, connector=connector, purpose=purpose)

    async def serve() -> None:
        stopped = options.stop_signals()
        running = options.running_proxy(context, screen, wanted, port=port, storage_ca_file=storage_ca_file)
        async with running as (served, access):
            if port_file is not None:
                write_whole(Path(port_file), f"{served.port}\n".encode())
            _show(screen, output, served, access)
            await stopped.wait()
            screen.note(f"ends: {_counted(served)}")

    asyncio.run(serve())


def _show(screen: Screen, output: PasteFormat, served: "SigningProxy", access: ToolAccess) -> None:
    match output:
        case PasteFormat.JSON:
            screen.json_line(access.as_json() | {"port": served.port})
        case PasteFormat.TABLE:
            screen.properties(
                [
                    ("listens on", access.endpoint),
                    ("storage", f"{served.place.origin}{served.place.base}/{access.container}"),
                    ("permissions", ", ".join(access.permissions)),
                ]
            )
            for name, form in FORMS.items():
                screen.heading(name)
                for line in form(access):
                    screen.line(line)
            screen.heading("the token, for everything else")
            screen.line(access.sas)
        case _:
            for line in FORMS[output](access):
                screen.line(line)
            if output is PasteFormat.ENV:
                for name, value in options.without_proxies(os.environ).items():
                    screen.line(f"export {name}={value}")
    screen.flush()


def _counted(served: "SigningProxy") -> str:
    counts = served.counts
    return (
        f"{counts.requests} requests, {counts.tokens} tokens, {counts.renewed_after_403} renewed after a 403, "
        f"{counts.refused} refused here, {counts.failures} failed at storage"
    )
