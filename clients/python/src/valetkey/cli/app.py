"""The whole command line: global options, groups of commands, and the one place where errors become words."""

import re
import sys
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer
from typer.main import get_command

from valetkey.cli import api_keys, audit, connectors, error_output, grants, leases, secrets, tokens
from valetkey.cli.agent.command import agent
from valetkey.cli.as_code.commands import apply, export
from valetkey.cli.checklist_views import print_checks
from valetkey.cli.command_line import CommandLine
from valetkey.cli.doctor import doctor
from valetkey.cli.exec_command import exec_
from valetkey.cli.expiring import expiring
from valetkey.cli.global_options import GlobalOptions
from valetkey.cli.issuing_left_in_outage import issuing_left
from valetkey.cli.login import login, logout
from valetkey.cli.proxy_command import proxy
from valetkey.cli.screen import Screen
from valetkey.cli.whoami import whoami
from valetkey.cli.zenml_hints import zenml_hint
from valetkey.errors import InvalidArgumentError, ValetKeyError
from valetkey.version import VERSION

# Typer raises these for bad usage, in whichever place its version keeps them.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

_EXIT_CODES = (
    "Exit codes: 0 ok · 1 refused or failed · 2 usage or settings · 3 not authenticated or not permitted · "
    "4 not found · 5 unavailable, try again · 130 interrupted."
)


def _hyphens(token: str) -> str:
    """Takes `--tenant_id` for `--tenant-id`, as ZenML users' fingers know it, and `Azure` for `azure`."""
    return token.replace("_", "-").lower()


app = typer.Typer(
    name="valetkey",
    help="Valet Key: short-lived SAS tokens for Azure Blob Storage, from credentials that stay in Vault.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"token_normalize_func": _hyphens, "help_option_names": ["--help", "-h"]},
)
app.add_typer(connectors.app, name="service-connector")
app.add_typer(secrets.app, name="secret")
app.add_typer(tokens.app, name="token")
app.add_typer(grants.app, name="grant")
app.add_typer(leases.app, name="lease")
app.add_typer(audit.app, name="audit")
app.command()(doctor)
app.command()(login)
app.command()(logout)
app.command()(whoami)
app.command()(proxy)
app.command()(agent)
# What follows the command is the command's, whatever it looks like.
app.command("exec", context_settings={"allow_interspersed_args": False})(exec_)
app.add_typer(api_keys.app, name="api-key")
app.command()(expiring)
app.command()(issuing_left)
app.command()(apply)
app.command()(export)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"valetkey {VERSION}\n")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    endpoint: Annotated[
        str | None, typer.Option(help="The broker, HOST:PORT; or VALETKEY_ENDPOINT.", show_default=False)
    ] = None,
    ca_file: Annotated[
        str | None,
        typer.Option(help="CA certificates to trust, PEM; or VALETKEY_CA_FILE.", show_default=False),
    ] = None,
    api_key_file: Annotated[
        str | None,
        typer.Option(
            help="File that holds the API key; or VALETKEY_API_KEY, VALETKEY_API_KEY_FILE.", show_default=False
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(help="The API key itself: other users of this machine can see it.", show_default=False),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option(help="File that holds a JWT, read for each call; or VALETKEY_TOKEN_FILE.", show_default=False),
    ] = None,
    client_cert_file: Annotated[
        str | None,
        typer.Option(help="Client certificate, PEM; or VALETKEY_CLIENT_CERT_FILE.", show_default=False),
    ] = None,
    client_key_file: Annotated[
        str | None,
        typer.Option(help="Key of the client certificate, PEM; or VALETKEY_CLIENT_KEY_FILE.", show_default=False),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="Config file; or VALETKEY_CONFIG, else ~/.config/valetkey/config.toml.", show_default=False),
    ] = None,
    timeout: Annotated[str, typer.Option(help="How long a call may take, up to 1h.")] = "30s",
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Keeps the global options for the commands."""
    _ = version
    context.obj = GlobalOptions(
        endpoint=endpoint,
        ca_file=ca_file,
        api_key=api_key,
        api_key_file=api_key_file,
        token_file=token_file,
        client_cert_file=client_cert_file,
        client_key_file=client_key_file,
        config=config,
        timeout=timeout,
    )


@cache
def _commands() -> Any:
    """Returns the commands as Click knows them. Typer takes 50 ms to make them, so once is enough."""
    return get_command(app)


def run_line(arguments: Sequence[str], screen: Screen) -> int:
    """Reads a line, runs its command and says what is wrong with either; returns the exit code."""
    root = _commands()
    line = CommandLine(root, arguments)
    try:
        _check_text(arguments)
        if option := line.repeated():
            raise InvalidArgumentError(f"{option} is given more than once, and takes one value; expected it once")
        answer = root.main(args=list(arguments), prog_name="valetkey", standalone_mode=False)
    except ValetKeyError as error:
        return say(error, arguments, screen)
    except _UsageError as error:
        return _usage(error, screen, line, arguments)
    except typer.Abort:
        return error_output.INTERRUPTED
    return answer if isinstance(answer, int) else 0


def say(error: ValetKeyError, arguments: Sequence[str], screen: Screen) -> int:
    """Says why a command failed, in the words of its line; returns the exit code."""
    message = _in_words_of_the_line(error, CommandLine(_commands(), arguments))
    if error.checks and not screen.as_json:
        print_checks(screen, error.checks, aside=True)
        message = error_output.without_remedies(message, error.checks)
    screen.error(message, error_output.facts(error), error_output.as_json(error) | {"message": message})
    for note in getattr(error, "__notes__", ()):
        screen.note(note)
    return error_output.exit_code(error)


def _usage(error: Exception, screen: Screen, line: CommandLine, arguments: Sequence[str]) -> int:
    message = (error.format_message() if hasattr(error, "format_message") else str(error)).replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{message}\n" if message else "")
        return error_output.USAGE
    if known := zenml_hint(arguments, line.words):
        message = (
            f"{' '.join(line.words[:2])} is ZenML's: {known}"
            if line.command is None
            else f"{message.rstrip('.')}; {known}"
        )
        screen.error(message, "", {"message": message})
        return error_output.USAGE
    hint = f"see: {context.command_path} --help" if context else ""
    message += _misplaced(error, line)
    screen.error(message, hint, {"message": message})
    return error_output.USAGE


def _misplaced(error: Exception, line: CommandLine) -> str:
    """Returns what to add where an option stands before the command that it is of, or behind it and is a global one."""
    option = str(getattr(error, "option_name", ""))
    if any(option in parameter.opts for parameter in _commands().params):
        return f"; it is an option of valetkey itself and stands before the command: valetkey {option} … COMMAND"
    path = str(getattr(getattr(error, "ctx", None), "command_path", ""))
    if option and line.belongs_below(option, path.split()[1:]):
        return f"; it is an option of the commands below and stands behind them: {path} COMMAND {option} …"
    return ""


def _in_words_of_the_line(error: ValetKeyError, line: CommandLine) -> str:
    """Returns the error's message with the option that was typed in place of the API's name for it."""
    field = error.metadata.get("field", "") or error.message.partition(": ")[0]
    # The place in a file, `team.yaml, line 2`, is no field.
    if not isinstance(error, InvalidArgumentError) or " " in field or not error.message.startswith(f"{field}: "):
        return error.message
    said = error.message.removeprefix(field)
    if field == "remove":  # It names other fields.
        said = re.sub(r"\b[a-z]+(?:_[a-z]+)+\b", lambda word: line.option_of(word[0]).removeprefix("--"), said)
    return line.option_of(field.rpartition(".")[2]) + said


def _check_text(arguments: Sequence[str]) -> None:
    try:
        "".join(arguments).encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("an argument is not text; expected UTF-8") from None
