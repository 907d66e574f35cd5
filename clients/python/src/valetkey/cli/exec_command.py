"""`valetkey exec`: runs a command whose environment leads it to storage, for as long as it takes."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from valetkey.cli import proxy_options as options
from valetkey.cli import token_options
from valetkey.cli.global_options import client_of
from valetkey.cli.overriding_variables import environment_that_wins
from valetkey.cli.screen import Screen
from valetkey.cli.tool_access import ToolAccess
from valetkey.errors import InvalidArgumentError
from valetkey.times import utc

# As shells have them.
NOT_EXECUTABLE, NOT_FOUND, BY_SIGNAL = 126, 127, 128
# Whoever holds the key can ask for whatever its principal may have: more than this one container.
IDENTITY = ("VALETKEY_API_KEY",)
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)


def exec_(
    context: typer.Context,
    *,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, behind --.", show_default=False)
    ],
    resource: options.Resource,
    permissions: options.Permissions = options.DEFAULT_PERMISSIONS,
    ttl: options.Ttl = None,
    connector: token_options.Connector = None,
    purpose: token_options.Purpose = None,
    no_proxy: Annotated[
        bool, typer.Option("--no-proxy", help="Give it one token itself, which ends; for short commands.")
    ] = False,
    storage_ca_file: options.StorageCaFile = None,
    keep_identity: Annotated[
        bool, typer.Option("--keep-identity", help="Leave VALETKEY_API_KEY to it: it asks the broker by itself.")
    ] = False,
) -> None:
    """Run a command that reaches one resource by variables such as AZURE_STORAGE_SAS_TOKEN, for as long as it runs.

    They lead to a proxy on this machine that renews, and that ends with the command. VALETKEY_API_KEY is taken out of
    the command's environment. Signals go on to it, and its exit code is this command's; 127 where it is not found, 126
    where it cannot be run, 128 and the signal's number where one ended it.
    """
    screen = Screen(as_json=False)
    wanted = options.Wanted(resource=resource, permissions=permissions, ttl=ttl, connector=connector, purpose=purpose)
    if no_proxy and _on_the_line(context, "storage_ca_file"):
        raise InvalidArgumentError("--storage-ca-file: is of the proxy; expected none with --no-proxy")

    async def through_proxy() -> int:
        running = options.running_proxy(context, screen, wanted, port=0, storage_ca_file=storage_ca_file)
        async with running as (_, access):
            return await _run(screen, command, access, keep_identity=keep_identity)

    async def directly() -> int:
        with client_of(context, screen) as client:
            token = client.issue_token(**wanted.arguments(screen))
        found = token.resource
        screen.note(f"the token ends at {utc(token.expire_time)}, and nothing renews it")
        access = ToolAccess.of(found.url, found.account, found.resource_id, token.sas_token, token.permissions)
        return await _run(screen, command, access, keep_identity=keep_identity)

    raise typer.Exit(asyncio.run(directly() if no_proxy else through_proxy()))


def _on_the_line(context: typer.Context, name: str) -> bool:
    """Tells whether an option was typed, and is not from the environment, which is for all commands."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def environment(access: ToolAccess, environ: Mapping[str, str], *, keep_identity: bool = False) -> dict[str, str]:
    """Returns the environment of a command: what leads it to storage, and nothing that would win over that.

    Nor the caller's own key, unless with `keep_identity`.
    """
    left_out = {*access.unset(), *(() if keep_identity else IDENTITY)}
    kept = {name: value for name, value in environ.items() if name not in left_out}
    if access.through_proxy:
        kept |= options.without_proxies(environ)
    return kept | access.variables()


async def _run(screen: Screen, command: list[str], access: ToolAccess, *, keep_identity: bool) -> int:
    if others := environment_that_wins(os.environ):
        screen.warn(others)
    variables = environment(access, os.environ, keep_identity=keep_identity)
    # Before it is there: one that ended us while it starts would leave it behind, without its proxy.
    signals = _Signals()
    try:
        process = await asyncio.create_subprocess_exec(*command, env=variables)
    except (FileNotFoundError, NotADirectoryError):
        screen.error(f"{command[0]}: there is no such command", "", {})
        return NOT_FOUND
    except OSError as error:
        screen.error(f"{command[0]}: cannot be run: {error.strerror}", "", {})
        return NOT_EXECUTABLE
    signals.go_to(process)
    code = await process.wait()
    return BY_SIGNAL - code if code < 0 else code


class _Signals:
    """Takes signals from now on, and sends them on to a command once it is there."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: list[int] = []
        for number in _FORWARDED:
            # What is ignored, as by nohup, the command ignores as well: it would not if we took it.
            if signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._take, number)

    def go_to(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        for number in self._waiting:
            _send(process, number)

    def _take(self, number: int) -> None:
        # A terminal sends what its keys mean to the command as well: twice would be once too often.
        of_the_keyboard = number in (signal.SIGINT, signal.SIGQUIT)
        if self._process is None:
            self._waiting.append(number)
        elif not (of_the_keyboard and sys.stdin is not None and sys.stdin.isatty()):
            _send(self._process, number)


def _send(process: asyncio.subprocess.Process, number: int) -> None:
    if process.returncode is None:
        process.send_signal(number)
