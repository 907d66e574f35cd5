"""`valetkey expiring`: what ends soon, and what mends it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from valetkey.cli import error_output
from valetkey.cli.global_options import client_of
from valetkey.cli.output_option import Output
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.durations import parse_duration, show_age, show_duration
from valetkey.ending_values import Ending
from valetkey.errors import InvalidArgumentError
from valetkey.times import utc


def expiring(
    context: typer.Context,
    *,
    within: Annotated[str, typer.Option(help="What ends within this time, or has ended, such as 14d.")] = "14d",
    everything: Annotated[
        bool, typer.Option("--all", help="Show all that can end, also later, and where nobody knows when.")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List what ends soon: credentials, API keys, certificates, the broker's way into Vault; with what mends each.

    What could not be looked at is listed, too, as while Vault is away. Exit code 0: nothing ends within that time, as
    far as could be seen; 6: something does, or has.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    span = parse_duration(within, "--within")
    if span < timedelta():
        raise InvalidArgumentError(f"--within: {within} lies in the past; expected 0s or more, such as 14d")
    with client_of(context, screen) as client:
        found = client.list_expiring(span)
        shown = client.list_expiring() if everything else found
    soon = [each for each in found if not each.not_looked_at]
    unseen = [each for each in found if each.not_looked_at]
    if screen.as_json:
        screen.json([_json(each, soon) for each in shown])
    elif shown:
        _print(screen, shown)
    for each in unseen:
        screen.note(f"{each.kind} {each.name} could not be looked at ({each.known_by}): it may end soon, or have ended")
    if not soon:
        screen.note(f"nothing {'else ' if unseen else ''}ends within {show_duration(span)}")
    else:
        raise typer.Exit(error_output.ENDING)


def _print(screen: Screen, endings: list[Ending]) -> None:
    now = datetime.now(UTC)
    screen.table(
        ["KIND", "NAME", "ENDS", "IN", "KNOWN BY", "MEND IT WITH"],
        [
            [
                each.kind,
                each.name,
                utc(each.end_time) if each.end_time else "not looked at" if each.not_looked_at else "unknown",
                _left(each.end_time, now),
                each.known_by,
                each.mend,
            ]
            for each in endings
        ],
    )


def _left(end: datetime | None, now: datetime) -> str:
    if end is None:
        return ""
    return show_age(end - now) if end > now else f"ended {show_age(now - end)} ago"


def _json(ending: Ending, soon: list[Ending]) -> dict[str, Any]:
    left = ending.end_time and int((ending.end_time - datetime.now(UTC)).total_seconds())
    return {
        "kind": ending.kind,
        "name": ending.name,
        "end_time": utc(ending.end_time) if ending.end_time else None,
        "seconds_left": left,
        "soon": ending in soon,
        "known_by": ending.known_by,
        "mend": ending.mend,
        "not_looked_at": ending.not_looked_at,
    }
