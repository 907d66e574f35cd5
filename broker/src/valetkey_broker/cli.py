"""The broker's own command line: serve, check-config, bootstrap, dev."""

import asyncio
import contextlib
import errno
import os
import sys
import uuid
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

import typer
import uvloop

from valetkey_broker import __version__
from valetkey_broker.authn.api_key_admin import BOOTSTRAP
from valetkey_broker.authn.trust_bundles import TrustBundles
from valetkey_broker.errors import BrokerError, ConfigurationError, UnrecordedOutcomeError
from valetkey_broker.model import Event, EventKind, InvalidFieldError, Role, check_name
from valetkey_broker.observability.logging import configure_logging
from valetkey_broker.recording import Changes
from valetkey_broker.settings import Settings, check_certificate, load_settings
from valetkey_broker.worker_supervisor import (
    EXIT_CONFIGURATION,
    Supervisor,
    only_broker_on,
    replaces_another,
    watch_lifeline,
)

T = TypeVar("T")
CHECK_STATE = "check-state"
"""Who repairs what `check-state` found: nobody that could be authenticated."""
# Of the distribution valetkey-devstack, which a server does without.
_DEVSTACK_COMMAND = "valetkey_devstack.cli"

app = typer.Typer(
    help="Valet Key's server: keeps long-lived cloud credentials in Vault, hands out short-lived SAS tokens.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)

Config = Annotated[
    Path,
    typer.Option(
        "--config", "-c", help="Settings, a TOML file; see docs/configuration.md.", envvar="VALETKEY_BROKER_CONFIG"
    ),
]


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 refused or failed, 2 usage, 78 configuration."""
    try:
        app()
    except ConfigurationError as error:
        for line in str(error).splitlines():
            typer.echo(f"Error: {line}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    except (BrokerError, InvalidFieldError) as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        # Python must not try once more to write what is left, as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.echo(f"Error: cannot write: {error.strerror}", err=True)
        sys.exit(1)


@app.command()
def serve(
    config: Config,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that share the port; overrides server.workers.")
    ] = None,
) -> None:
    """Serves until SIGTERM or Ctrl-C."""
    settings = _loaded(config)
    count = workers or settings.server.workers
    certificate_port = settings.authn.mtls.port if settings.authn.mtls is not None else None
    if count > 1:
        sys.exit(Supervisor(config, settings.server, count, certificate_port).run())
    with only_broker_on(settings.server, certificate_port):
        _run(_serve(settings, worker=False))


@app.command(hidden=True)
def worker(config: Config) -> None:
    """Serves as one of several workers; `serve --workers` starts these."""
    _run(_serve(_loaded(config), worker=True))


@app.command("check-config")
def check_config(config: Config) -> None:
    """Says what is wrong with the settings and the ledger, or that nothing is, without starting."""
    # SQL comes in here: no other command of this process needs it.
    from valetkey_broker.ledger import check_ledger  # noqa: PLC0415

    settings = load_settings(config)
    check_certificate(settings.server.tls_cert_file, settings.server.tls_key_file)
    mtls = settings.authn.mtls
    if mtls is not None:
        TrustBundles(mtls.trust_domains)
    for warning in filter(None, [*settings.warnings(), check_ledger(settings.ledger)]):
        typer.echo(f"Warning: {warning}", err=True)
    cloud = settings.profiles()[settings.default_cloud]
    typer.echo(f"{config}: ok")
    typer.echo(f"  listens on   {settings.server.address}, {settings.server.workers} worker(s), TLS")
    callers = ["API keys", *(each.issuer for each in settings.authn.oidc)]
    if mtls is not None:
        callers += [f"spiffe://{name} on port {mtls.port}" for name in sorted(mtls.trust_domains)]
    typer.echo(f"  admits       {', '.join(callers)}")
    typer.echo(f"  keeps state  {settings.vault.address}, mount {settings.vault.mount}")
    typer.echo(f"  clouds       {', '.join(sorted(settings.profiles()))} (default: {cloud.name})")


@app.command()
def bootstrap(
    config: Config,
    name: Annotated[str, typer.Option(help="Name of the key.")] = "admin",
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it lives.")] = 90,
    out: Annotated[
        Path | None, typer.Option(help="File to write the key to (mode 0600) instead of printing it.")
    ] = None,
) -> None:
    """Makes the first admin key and prints it, once: Vault keeps only its hash."""
    check_name("name", name)
    settings = load_settings(config)
    configure_logging(settings.logging.format, settings.logging.level, sys.stderr)  # Standard output is the key's.
    if out is None:
        typer.echo(_run(_bootstrap(settings, name, timedelta(days=days))))
        typer.echo("Keep this admin key safe: it is not shown again.", err=True)
        return
    with _new_private_file(out) as file:  # Before the key is made: it could be shown nowhere afterwards.
        file.write(_run(_bootstrap(settings, name, timedelta(days=days))) + "\n")
    typer.echo(f"The admin key is in {out}; it is kept nowhere else.", err=True)


@app.command("check-state")
def check_state(
    config: Config,
    repair: Annotated[bool, typer.Option(help="Mend what can be mended, on record in the ledger.")] = False,
) -> None:
    """Looks in Vault for what is half done: unfinished changes, secrets without their connector and the reverse.

    Exit code 0 where nothing is, or is left; 1 where something is.
    """
    settings = load_settings(config)
    configure_logging(settings.logging.format, settings.logging.level, sys.stderr)
    sys.exit(1 if _run(_check_state(settings, repair=repair)) else 0)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def dev(context: typer.Context) -> None:
    """Runs a whole stack on this machine: OpenBao, Azurite, a stand-in for Entra and ARM, a broker, demo data."""
    try:
        command = import_module(_DEVSTACK_COMMAND)
    except ModuleNotFoundError as error:
        name = error.name or ""
        if name.partition(".")[0] != _DEVSTACK_COMMAND.partition(".")[0]:
            raise ConfigurationError(f"{name} is missing; pip install 'valetkey-broker[dev-stack]'") from None
        raise ConfigurationError(
            "the dev stack is a distribution of its own; pip install 'valetkey-broker[dev-stack]'"
        ) from None
    command.run(context.args, program=context.command_path)


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


def _version(value: bool) -> None:
    if value:
        typer.echo(f"valetkey-broker {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    _ = version


def _loaded(config: Path) -> Settings:
    settings = load_settings(config)
    configure_logging(settings.logging.format, settings.logging.level)
    return settings


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    return uvloop.run(coroutine)


async def _serve(settings: Settings, *, worker: bool) -> None:
    # gRPC comes in here, in the process that serves: never in the one that starts others.
    from valetkey_broker.app import Listen  # noqa: PLC0415
    from valetkey_broker.app import serve as serve_app  # noqa: PLC0415

    stop = asyncio.Event()
    lifeline = watch_lifeline()
    if lifeline is not None:
        loop = asyncio.get_running_loop()

        def supervisor_ended() -> None:
            loop.remove_reader(lifeline)  # The end of a pipe stays readable for ever.
            stop.set()

        loop.add_reader(lifeline, supervisor_ended)
    listen = Listen.AT_ONCE
    if worker:
        listen = Listen.ONCE_READY if replaces_another() else Listen.ONCE_VAULT_WAS_TRIED
    await serve_app(settings, stop=stop, listen=listen)


async def _bootstrap(settings: Settings, name: str, life: timedelta) -> str:
    from valetkey_broker.app import open_core  # noqa: PLC0415

    async with open_core(settings) as core:
        await core.store.open()
        await core.repository.load()
        await core.ledger.open()
        begun = _begun(core.clock(), "valetkey-broker bootstrap", BOOTSTRAP, f"api-keys/{name}")
        begun = replace(begun, details={"roles": Role.ADMIN.value, "life": f"{life.total_seconds():.0f}s"})
        try:
            _, secret = await Changes(core.ledger, core.clock).make(begun, partial(core.api_keys.bootstrap, name, life))
        except UnrecordedOutcomeError as error:
            # Nobody has seen its secret, and an admin key stands in the way of the next try.
            await core.api_keys.revoke(name, revoked_by=BOOTSTRAP)
            raise error.reworded(f"the key {name} was made and revoked again, for {error.message}") from None
        return secret.reveal()


async def _check_state(settings: Settings, *, repair: bool) -> int:
    """Returns how many findings are left."""
    from valetkey_broker.app import open_core  # noqa: PLC0415
    from valetkey_broker.state.inspection import Inspection  # noqa: PLC0415

    left = 0
    async with open_core(settings) as core:
        await core.store.open()
        if repair:
            await core.ledger.open()
        inspection = Inspection(core.store, core.repository, CHECK_STATE)
        async for finding in inspection.findings(2 * settings.vault.poll_seconds + 1.0):
            typer.echo(f"{finding.path}: {finding.what}")
            if repair and finding.repair is not None:
                begun = _begun(core.clock(), "valetkey-broker check-state --repair", CHECK_STATE, finding.path)
                await Changes(core.ledger, core.clock).make(begun, finding.repair)
                typer.echo("  repaired")
            else:
                left += 1
                typer.echo(f"  {finding.remedy}")
    typer.echo("Nothing is half done." if not left else f"{left} found; see docs/changes.md.", err=bool(left))
    return left


def _begun(now: float, method: str, principal: str, path: str) -> Event:
    return Event(
        kind=EventKind.CHANGE_BEGUN,
        time=now,
        request_id=str(uuid.uuid4()),
        method=method,
        principal=principal,
        object=path,
    )
