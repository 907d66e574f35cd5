"""`valetkey agent`: files kept fresh for programs that read a token from a file."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from ssl import SSLContext
from typing import Annotated

import typer

from valetkey.async_token_source import AsyncTokenSource
from valetkey.cli import proxy_options
from valetkey.cli.agent.agent import Agent, write_once
from valetkey.cli.agent.configuration import Plan, Scope
from valetkey.cli.agent.configuration_file import read_plan
from valetkey.cli.agent.log import AgentLog
from valetkey.cli.agent.sources_and_proxies import Shared
from valetkey.cli.error_output import exit_code
from valetkey.cli.global_options import settings_of
from valetkey.cli.screen import Screen
from valetkey.errors import SettingsError, ValetKeyError

_Trust = Callable[[], SSLContext]


def agent(
    context: typer.Context,
    *,
    config: Annotated[str, typer.Option(help="What to keep, TOML: docs/agent.md.", show_default=False)],
    once: Annotated[bool, typer.Option("--once", help="Write all files once, and end; for init containers.")] = False,
    storage_ca_file: proxy_options.StorageCaFile = None,
) -> None:
    """Keep files with tokens fresh for a pod's other containers: SAS tokens, variables, rclone's, JSON, templates.

    Each is written anew ahead of the token's end, whole or not at all. Proxies run beside them where the configuration
    has them. Ends on SIGTERM or Ctrl-C; SIGHUP has it read the configuration again. What it does goes to standard
    error, one JSON object a line. With --once the exit code is that of the first error, and a broker that is away is
    told within seconds; without, it tries for ever.
    """
    path, log = Path(config), AgentLog()
    plan = _plan(path, once=once)
    settings = settings_of(context, Screen(as_json=True))
    trust = _trusted_once(storage_ca_file)
    if any(resource.port is not None for resource in plan.resources):
        trust()  # What is wrong with it is said now.

    def source(scope: Scope) -> AsyncTokenSource:
        return proxy_options.token_source(context, settings, scope.arguments())

    async def run() -> ValetKeyError | None:
        shared = Shared(source, trust)
        if once:
            return await write_once(plan, shared, log)
        stopped, reload = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        log.info("begins", resources=len(plan.resources), files=len(plan.outputs), broker=settings.endpoint)
        await Agent(plan, shared, log).run(stopped, reload, lambda: _plan(path, once=False))
        return None

    with _lines_of_the_library(log):
        error = asyncio.run(run())
    if error is not None:  # The log has told it.
        raise typer.Exit(exit_code(error))


def _plan(path: Path, *, once: bool) -> Plan:
    plan = read_plan(path)
    through = [output.path for output in plan.outputs if output.through_proxy]
    if once and through:
        raise SettingsError(
            f"--once: {through[0]} is for what goes through the proxy, and none runs after this; expected outputs "
            "without through_proxy, or the agent without --once"
        )
    return plan


def _trusted_once(ca_file: str | None) -> _Trust:
    """Returns what loads the CAs when they are first needed: without proxies, nobody needs them."""
    found: list[SSLContext] = []

    def trust() -> SSLContext:
        if not found:
            found.append(proxy_options.storage_trust(ca_file))
            proxy_options.raise_descriptors()
        return found[0]

    return trust


@contextmanager
def _lines_of_the_library(log: AgentLog) -> Iterator[None]:
    """Has what the library says of renewals in the same log, while the block runs."""
    library = logging.getLogger("valetkey")
    before, library.propagate = library.propagate, False
    library.addHandler(log)
    try:
        yield
    finally:
        library.removeHandler(log)
        library.propagate = before
