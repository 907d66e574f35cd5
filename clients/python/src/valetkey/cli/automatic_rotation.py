"""`rotate --auto`: the broker has Azure make the credential; and how often it does so by itself."""

from typing import Annotated, Any

import typer

from valetkey.cli.rotation_progress import follow
from valetkey.cli.screen import Screen
from valetkey.client import Client
from valetkey.durations import parse_duration, show_duration
from valetkey.errors import InvalidArgumentError
from valetkey.rotation_values import RotationSchedule

_PANEL = "Made by the broker"
Auto = Annotated[
    bool,
    typer.Option(
        "--auto",
        help="Have Azure make the new credential: a secret of the service principal, or the account's other key.",
        rich_help_panel=_PANEL,
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        help="With --auto: the connector whose service principal does it; by its own rights, if left out. Needed "
        "for an account key.",
        metavar="CONNECTOR",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
AtOnce = Annotated[
    bool,
    typer.Option(
        "--now",
        help="With --auto, of an account key: regenerate the old one at once. Tokens that it signed end then.",
        rich_help_panel=_PANEL,
    ),
]

ProveFor = Annotated[
    str | None,
    typer.Option(
        help="How long it is tried until it works, such as 10m: 5m if left out, at most 1h; 0s: once.",
        show_default=False,
    ),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Begin it, and do not follow it to its end.")]


def begin_by_itself(
    screen: Screen,
    client: Client,
    name: str,
    holder: str,
    *,
    auto: bool,
    by: str | None,
    at_once: bool,
    schedule: RotationSchedule | None,
    others: bool,
    prove_for: str | None,
    wait: bool,
) -> bool:
    """Does what --auto and --rotate-every say; returns False where neither is given.

    `others` tells whether a credential is given besides. Raises InvalidArgumentError for what does not go together.
    """
    if (by or at_once) and not auto:
        raise InvalidArgumentError(f"{'--by' if by else '--now'} is given without --auto; expected both, or neither")
    if others and (auto or schedule):
        what = "--auto" if auto else "--rotate-every"
        raise InvalidArgumentError(f"{what} has the broker make the credential; expected it, or one that is given")
    if schedule is not None:
        wanted = schedule if schedule.every else None
        if holder == "secret":
            set_now = client.set_secret_rotation_schedule(name, wanted).rotation_schedule
        else:
            set_now = client.set_rotation_schedule(name, wanted).rotation_schedule
        told = f"is rotated every {show_duration(set_now.every)}" if set_now else "is not rotated by itself"
        screen.note(f"{name} {told} from now on")
    if auto:
        begun = client.rotate_by_itself(name, holder=holder, by=by or "", at_once=at_once, **proving(prove_for))
        follow(screen, client, begun, wait=wait)
    return auto or schedule is not None


def proving(given: str | None) -> dict[str, Any]:
    """Returns what --prove-for says, as the client takes it."""
    return {} if given is None else {"prove_for": parse_duration(given, "--prove-for")}
