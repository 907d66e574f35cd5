"""Looks at rotations, and follows them to their end."""

import time

import typer

from valetkey.cli.rotation_views import print_outcome, print_rotation, rotation_json, told
from valetkey.cli.screen import Screen
from valetkey.client import Client
from valetkey.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from valetkey.rotations import Rotation

_POLL_SECONDS = 0.5


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
    while wait and not rotation.ended and rotation.state != "waiting":
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


def show(screen: Screen, rotation: Rotation) -> None:
    """Shows where a rotation stands."""
    if screen.as_json:
        screen.json(rotation_json(rotation))
    else:
        print_rotation(screen, rotation)
