"""Looks at rotations, and follows them to their end."""

import time
from datetime import datetime, timedelta

from valetkey.cli.rotation_views import command, print_outcome, print_rotation, rotation_json, told
from valetkey.cli.screen import Screen
from valetkey.client import Client
from valetkey.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from valetkey.rotation_values import Rotation
from valetkey.times import utc

_POLL_SECONDS = 0.5
# One that waits for the end of leases waits for longer than anybody looks on; one that waits for replicas does not.
_LONG = timedelta(minutes=1)


def look(screen: Screen, client: Client, name: str, holder: str, *, abort: bool, others: bool) -> None:
    """Shows a rotation, or has it taken back. Raises InvalidArgumentError where `others` were given besides."""
    if others:
        raise InvalidArgumentError("--status and --abort go alone; expected NAME and one of them")
    if not abort:
        show(screen, client.get_rotation(name, holder=holder))
        return
    follow(screen, client, client.abort_rotation(name, holder=holder), wait=True, aborting=True)


def follow(
    screen: Screen, client: Client, rotation: Rotation, *, wait: bool, aborting: bool = False, back_to: int = 0
) -> Rotation:
    """Shows how a rotation goes on until it is over, or waits for longer than anybody would look on; returns it.

    `back_to` is the version that a rollback goes back to. Raises FailedPreconditionError where it came to nothing.
    """
    try:
        rotation = _awaited(screen, client, rotation) if wait else rotation
    except KeyboardInterrupt:
        _say_it_goes_on(screen, rotation, aborting=aborting)
        raise
    if screen.as_json:
        screen.json(rotation_json(rotation))
    if rotation.state == "failed" or (rotation.state == "aborted" and not aborting):
        why = rotation.message or rotation.reason
        raise FailedPreconditionError(
            f"the credential in use stays: the rotation {rotation.state}: {why}", reason=rotation.reason
        )
    if not screen.as_json:
        print_outcome(screen, rotation, back_to)
    return rotation


def _awaited(screen: Screen, client: Client, rotation: Rotation) -> Rotation:
    shown = ""
    while not rotation.ended and not _waits_long(rotation):
        if (now := told(rotation)) != shown:
            screen.progress(now)
            shown = now
        time.sleep(_POLL_SECONDS)
        try:
            rotation = client.get_rotation(rotation.name, holder=rotation.holder)
        except UnavailableError as error:
            screen.progress(f"{error.message}; the rotation goes on by itself")
    return rotation


def _say_it_goes_on(screen: Screen, rotation: Rotation, *, aborting: bool) -> None:
    if aborting:
        screen.note(f"it is being taken back at the broker all the same; see {command(rotation)} --status")
        return
    screen.note(
        f"the rotation goes on at the broker; see {command(rotation)} --status, or take it back, until it has come to "
        f"the switch, with {command(rotation)} --abort"
    )


def note_end(screen: Screen, client: Client, rotation: Rotation, before: datetime | None, given: str | None) -> None:
    """Says that nobody knows when a new credential ends, where that was known of the one before."""
    if before is None or given is not None:
        return
    if rotation.state == "done":
        is_secret = rotation.holder == "secret"
        there = client.get_secret(rotation.name) if is_secret else client.get_connector(rotation.name)
        if there.expire_time is not None:  # A certificate says it itself.
            return
    screen.note(
        f"the end that was noted, {utc(before)}, was that of the credential before; note the new one's with: "
        f"{command(rotation, 'update')} --expires-at DATE"
    )


def _waits_long(rotation: Rotation) -> bool:
    return rotation.wait_until is not None and rotation.wait_until - rotation.update_time > _LONG


def show(screen: Screen, rotation: Rotation) -> None:
    """Shows where a rotation stands."""
    if screen.as_json:
        screen.json(rotation_json(rotation))
    else:
        print_rotation(screen, rotation)
