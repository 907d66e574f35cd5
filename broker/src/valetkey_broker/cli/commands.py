"""The commands of `valetkey-broker` and their options.

Each command loads what it needs when it runs: `--version`, `--help` and Tab answer at once. A plain `serve` does not
even load this: see serve_fast_path.py.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from valetkey_broker import __version__
from valetkey_broker.cli.exit_codes import run_to_the_end
from valetkey_broker.cli.health_probe import DEFAULT_TIMEOUT_SECONDS, probe
from valetkey_broker.cli.serve_fast_path import CONFIG_ENV, MOST_WORKERS
from valetkey_broker.concurrency.interrupts import interrupts_end_at_once
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.model import check_name

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
    typer.Option("--config", "-c", help="Settings, a TOML file; see docs/configuration.md.", envvar=CONFIG_ENV),
]


def main() -> None:
    """Runs the command line."""
    run_to_the_end(app)


@app.command()
def serve(
    config: Config,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_WORKERS, help="Processes that share the port; overrides server.workers."),
    ] = None,
) -> None:
    """Serves until SIGTERM or Ctrl-C."""
    with interrupts_end_at_once():
        from valetkey_broker.cli.serve import serve_alone_or_supervise  # noqa: PLC0415

    serve_alone_or_supervise(config, workers)


@app.command(hidden=True)
def worker(config: Config) -> None:
    """Serves as one of several workers; `serve --workers` starts these."""
    with interrupts_end_at_once():
        from valetkey_broker.cli.serve import serve_as_worker  # noqa: PLC0415

    serve_as_worker(config)


@app.command()
def health(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Settings that say where the broker listens.", envvar=CONFIG_ENV),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Be content with any answer: the process lives, Vault may be away.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="How long to wait, in seconds.")] = DEFAULT_TIMEOUT_SECONDS,
) -> None:
    """Asks the broker that runs on this machine how it is: exit code 0 where it serves, 1 where not. For probes."""
    sys.exit(probe(config, live=live, timeout_seconds=timeout))


@app.command("check-config")
def check_config(config: Config) -> None:
    """Says what is wrong with the settings and the ledger, or that nothing is, without starting."""
    with interrupts_end_at_once():
        from valetkey_broker.cli.configuration_check import print_configuration  # noqa: PLC0415

    print_configuration(config)


@app.command()
def migrate(
    config: Config,
    grant_to: Annotated[
        str, typer.Option(help="PostgreSQL role of the brokers: may then add records and read them, no more.")
    ] = "",
) -> None:
    """Makes or changes the ledger's tables as this version needs them; several at once take turns.

    A broker does so itself as it starts. This is for updates in which a role of its own owns the tables.
    """
    with interrupts_end_at_once():
        from valetkey_broker.cli.migration import migrate_and_say  # noqa: PLC0415

    migrate_and_say(config, grant_to)


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
    with interrupts_end_at_once():
        from valetkey_broker.cli.first_key import hand_out_first_key  # noqa: PLC0415

    hand_out_first_key(config, name, days, out)


@app.command("check-state")
def check_state(
    config: Config,
    repair: Annotated[bool, typer.Option(help="Mend what can be mended, on record in the ledger.")] = False,
) -> None:
    """Looks in Vault for what is half done: unfinished changes, secrets without their connector and the reverse.

    Exit code 0 where nothing is, or is left; 1 where something is.
    """
    with interrupts_end_at_once():
        from valetkey_broker.cli.state_check import findings_left  # noqa: PLC0415

    sys.exit(1 if findings_left(config, repair=repair) else 0)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def dev(context: typer.Context) -> None:
    """Runs a whole stack on this machine: OpenBao, Azurite, a stand-in for Entra, Graph and ARM, a broker, data."""
    try:
        with interrupts_end_at_once():
            command = import_module(_DEVSTACK_COMMAND)
    except ModuleNotFoundError as error:
        name = error.name or ""
        if name.partition(".")[0] != _DEVSTACK_COMMAND.partition(".")[0]:
            raise ConfigurationError(f"{name} is missing; pip install 'valetkey-broker[dev-stack]'") from None
        raise ConfigurationError(
            "the dev stack is a distribution of its own; pip install 'valetkey-broker[dev-stack]'"
        ) from None
    command.run(context.args, program=context.command_path)


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
