"""Looks at rotations, and follows them to their end."""

import time
from datetime import timedelta

import typer

from valetkey.cli.rotation_views import print_outcome, print_rotation, rotation_json, told
from valetkey.cli.screen import Screen
from valetkey.client import Client
from valetkey.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from valetkey.rotations import Rotation

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


def follow(screen: Screen, client: Client, rotation: Rotation, *, wait: bool, aborting: bool = False) -> None:
    """Shows how a rotation goes on until it is over, or waits for longer than anybody would look on."""
    shown = ""
    while wait and not rotation.ended and not _waits_long(rotation):
        if (now := told(rotation)) != shown:
            screen.progress(now)
            shown = now
        time.sleep(_POLL_SECONDS)
        try:
            rotation = client.get_rotation(rotation.name, holder=rotation.holder)
        except UnavailableError as error:
            screen.progress(f"{error.message}; the rotation goes on by itself")
    if screen.as_json:
        screen.json(rotation_json(rotation))
    if rotation.state == "failed" or (rotation.state == "aborted" and not aborting):
        if screen.as_json:
            raise typer.Exit(1)
        why = rotation.message or rotation.reason
        raise FailedPreconditionError(f"the credential in use stays: the rotation {rotation.state}: {why}")
    if not screen.as_json:
        print_outcome(screen, rotation)


def _waits_long(rotation: Rotation) -> bool:
    return rotation.wait_until is not None and rotation.wait_until - rotation.update_time > _LONG


def show(screen: Screen, rotation: Rotation) -> None:
    """Shows where a rotation stands."""
    if screen.as_json:
        screen.json(rotation_json(rotation))
    else:
        print_rotation(screen, rotation)
