"""`valetkey service-connector verify`: prove that connectors work, one or all of them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from valetkey.cli import error_output
from valetkey.cli.checklist_views import checks_json, print_checks, worst
from valetkey.cli.connector_options import ProbeWrite
from valetkey.cli.global_options import client_of
from valetkey.cli.output_option import Output
from valetkey.cli.resource_views import print_reached, reached_json
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.client import Client
from valetkey.errors import InvalidArgumentError, ValetKeyError
from valetkey.values import Resources

# So many are verified at a time: each asks Entra and storage a handful of questions.
_AT_A_TIME = 4
# Of several connectors the worst counts: what was refused before what was not found, and what passes by itself last.
_WORST_FIRST = (error_output.REFUSED, error_output.NOT_FOUND, error_output.UNAVAILABLE)
_OURS = (error_output.USAGE, error_output.NOT_PERMITTED)


@dataclass(frozen=True, slots=True)
class _Result:
    """What verifying one connector came to: what it reaches, or the error."""

    connector: str
    resources: Resources
    error: ValetKeyError | None = None

    @property
    def word(self) -> str:
        return "failed" if self.error else worst(self.resources.checks)

    @property
    def exit_code(self) -> int:
        if self.error:
            return error_output.exit_code(self.error)
        return error_output.REFUSED if self.word == "failed" else 0


def verify(
    context: typer.Context,
    *,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help="Names of the connectors.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All connectors, in place of names.")] = False,
    resource_id: Annotated[
        str | None,
        typer.Option(
            "--resource-id",
            "-ri",
            help="Only this container, such as az://models; of one connector.",
            show_default=False,
        ),
    ] = None,
    probe_write: ProbeWrite = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Prove that a connector works: log in, get a signing key, use a token; say what is wrong and how to mend it.

    Of several, the exit code is the worst one's: 1 refused or failed, 4 not found, 5 unavailable, 0 where all work.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    wanted = list(dict.fromkeys(names or ()))
    if bool(wanted) == everything:
        raise InvalidArgumentError("NAME: expected the names of connectors, or --all in their place")
    if resource_id and (everything or len(wanted) > 1):
        raise InvalidArgumentError("--resource-id: is of one connector; expected its NAME alone")
    with client_of(context, screen) as client:
        if everything:
            wanted = [connector.name for connector in client.list_connectors()]
        with screen.busy(f"Verifying {', '.join(wanted)}"):
            if len(wanted) == 1 and not everything:
                _one(screen, client, wanted[0], resource_id, probe_write=probe_write)
                return
            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                results = list(pool.map(lambda name: _result(client, name, None, probe_write=probe_write), wanted))
    _print(screen, results)
    codes = {result.exit_code for result in results}
    if code := next((code for code in _WORST_FIRST if code in codes), 0):
        raise typer.Exit(code)


def _one(screen: Screen, client: Client, name: str, resource_id: str | None, *, probe_write: bool) -> None:
    result = _result(client, name, resource_id, probe_write=probe_write)
    if result.error:
        raise result.error  # Its checks are shown with it.
    resources = result.resources
    if screen.as_json:
        screen.json({"connector": name, **reached_json(resources), "checks": checks_json(resources.checks)})
    else:
        how = "does not work as it should" if result.word == "failed" else "works"
        screen.line(f"Service connector `{name}` {how}, with access to the following resources:")
        print_reached(screen, name, resources)
        print_checks(screen, resources.checks)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _result(client: Client, name: str, resource_id: str | None, *, probe_write: bool) -> _Result:
    """Raises what is wrong with the call itself; what is wrong with the connector is the result's."""
    try:
        return _Result(name, client.verify_connector(name, resource_id=resource_id, probe_write=probe_write))
    except ValetKeyError as error:
        if error_output.exit_code(error) in _OURS:
            raise
        return _Result(name, Resources(), error)


def _print(screen: Screen, results: Sequence[_Result]) -> None:
    if screen.as_json:
        screen.json([_json(result) for result in results])
        return
    screen.table(
        ["CONNECTOR", "RESULT", "RESOURCES", "FOUND"],
        [
            [
                result.connector,
                result.word,
                "" if result.error else str(len(result.resources) + result.resources.left_out),
                "\n".join(_found(result)),
            ]
            for result in results
        ],
        rules=False,
    )
    for result in results:
        checks = result.error.checks if result.error else result.resources.checks
        for mend in dict.fromkeys(check.mend for check in checks if check.mend):
            screen.note(f"to mend {result.connector}: {mend}")


def _found(result: _Result) -> list[str]:
    if result.error:
        return [result.error.message]
    return [
        f"{check.step}: {check.message}" for check in result.resources.checks if check.outcome in ("failed", "warning")
    ]


def _json(result: _Result) -> dict[str, Any]:
    error = error_output.as_json(result.error) if result.error else None
    checks = result.error.checks if result.error else result.resources.checks
    found = {"connector": result.connector, "result": result.word, **reached_json(result.resources)}
    return found | {"checks": checks_json(checks), "error": error}
