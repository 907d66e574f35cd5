"""Rotations, and the versions of a credential, as people and scripts see them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from valetkey.cli.screen import Screen
from valetkey.durations import show_age, show_duration
from valetkey.rotation_values import CredentialVersion, Rotation, RotationSchedule
from valetkey.times import utc

_DOING = {
    "obtaining": "the new credential is being made",
    "proving": "the new credential is tried, the old one is in use",
    "switching": "the new credential works, and is put in place",
    "waiting": "the new credential is in use, the old one stays good",
    "withdrawing": "the new credential is in use, the old one is removed",
    "undoing": "what was done is taken back, the old credential is in use",
}
_GOING_BACK = {
    "proving": "the credential of before is tried, the one in use stays until it works",
    "switching": "the credential of before works, and is put in place again",
    "undoing": "the rollback is taken back, the credential in use stays",
}


def command(rotation: Rotation, verb: str = "rotate") -> str:
    """Returns the command that does `verb` with what a rotation is of."""
    return f"valetkey {'secret' if rotation.holder == 'secret' else 'service-connector'} {verb} {rotation.name}"


def told(rotation: Rotation) -> str:
    """Returns where a rotation stands, in a line."""
    doing = {**_DOING, **(_GOING_BACK if rotation.source == "rollback" else {})}
    line = f"{rotation.state}: {doing.get(rotation.state, rotation.message or rotation.reason)}".rstrip(": ")
    if rotation.state == "waiting" and rotation.wait_until is not None:
        return f"{line} until {utc(rotation.wait_until)}"
    if rotation.state in ("proving", "obtaining") and rotation.tries:
        tries = f"{rotation.tries} {'try' if rotation.tries == 1 else 'tries'} failed"
        spent = f"{rotation.spent.total_seconds():.0f} s of {rotation.prove_for.total_seconds():.0f} s"
        return f"{line}; {tries} so far, {spent}: {rotation.message}"
    return line


def schedule_words(schedule: RotationSchedule | None) -> str:
    """Returns how often something is rotated by itself; empty where it is not."""
    if schedule is None:
        return ""
    return show_duration(schedule.every) + (f", by {schedule.by}" if schedule.by else "")


def schedule_json(schedule: RotationSchedule | None) -> dict[str, Any] | None:
    """Returns the same for programs, in seconds."""
    return {"every": int(schedule.every.total_seconds()), "by": schedule.by} if schedule is not None else None


def print_rotation(screen: Screen, rotation: Rotation) -> None:
    """Prints one rotation; what has no value is left out."""
    state = told(rotation)
    screen.properties(
        [
            ("of", f"{rotation.holder} {rotation.name}"),
            ("id", rotation.id),
            ("state", state),
            (
                "credential of before" if rotation.source == "rollback" else "new credential",
                f"{rotation.source}, {rotation.auth_method}",
            ),
            ("begun", f"{utc(rotation.start_time)} by {rotation.started_by}"),
            ("last went on", f"{show_age(datetime.now(UTC) - rotation.update_time)} ago"),
            ("version before", str(rotation.from_version)),
            ("version now", str(rotation.to_version or rotation.from_version)),
            ("failed tries", str(rotation.tries) if rotation.tries else ""),
            ("reason", rotation.reason),
            ("message", rotation.message if rotation.message not in state else ""),
            ("used by", ", ".join(rotation.connectors)),
        ]
    )


def print_outcome(screen: Screen, rotation: Rotation, back_to: int = 0) -> None:
    """Says what came of a rotation, or how it goes on. `back_to` is the version that a rollback goes back to."""
    is_secret = rotation.holder == "secret"
    what = f"{'secret' if is_secret else 'service connector'} `{rotation.name}`"
    if rotation.state == "done":
        if back_to:
            screen.line(
                f"Rolled {what} back to what version {back_to} was ({rotation.auth_method}): that is in use again, as "
                f"version {rotation.to_version}. Version {rotation.from_version}, which was in use until now, is kept."
            )
        else:
            screen.line(
                f"Rotated {what}: version {rotation.to_version} ({rotation.auth_method}) is in use, version "
                f"{rotation.from_version} is kept."
            )
        if rotation.message:
            screen.note(rotation.message)
        if is_secret and rotation.connectors:
            screen.line(f"Used by: {', '.join(rotation.connectors)}.")
    elif rotation.state == "aborted":
        screen.line(f"Took the rotation of {what} back: version {rotation.from_version} stays in use.")
    else:
        screen.line(f"The rotation of {what} is {told(rotation)}.")
        screen.note(f"see how it goes on with: {command(rotation)} --status")


def rotation_json(rotation: Rotation) -> dict[str, Any]:
    """Returns a rotation as a JSON object."""
    return {
        "id": rotation.id,
        "name": rotation.name,
        "holder": rotation.holder,
        "source": rotation.source,
        "state": rotation.state,
        "ended": rotation.ended,
        "start_time": utc(rotation.start_time),
        "started_by": rotation.started_by,
        "update_time": utc(rotation.update_time),
        "auth_method": rotation.auth_method,
        "from_version": rotation.from_version,
        "to_version": rotation.to_version or None,
        "tries": rotation.tries,
        "prove_for_seconds": int(rotation.prove_for.total_seconds()),
        "spent_seconds": int(rotation.spent.total_seconds()),
        "reason": rotation.reason,
        "message": rotation.message,
        "wait_until": utc(rotation.wait_until) if rotation.wait_until else None,
        "connectors": list(rotation.connectors),
    }


def print_versions(screen: Screen, versions: Sequence[CredentialVersion]) -> None:
    """Prints a table of the versions of a credential."""
    screen.table(
        ["VERSION", "STATE", "AUTH METHOD", "SINCE", "BY", "ENDS"],
        [
            [
                str(each.version),
                ("in use" if each.in_use else "kept") + (f", back from {each.taken_from}" if each.taken_from else ""),
                each.auth_method,
                utc(each.since) if each.since else "",
                each.given_by,
                utc(each.expire_time) if each.expire_time else "",
            ]
            for each in versions
        ],
    )


def version_json(version: CredentialVersion) -> dict[str, Any]:
    """Returns a version of a credential as a JSON object."""
    return {
        "version": version.version,
        "in_use": version.in_use,
        "auth_method": version.auth_method,
        "since": utc(version.since) if version.since else None,
        "given_by": version.given_by,
        "rotation": version.rotation,
        "taken_from": version.taken_from or None,
        "expire_time": utc(version.expire_time) if version.expire_time else None,
    }
