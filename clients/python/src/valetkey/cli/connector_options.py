"""The options that say what is noted down of a connector; `register` and `update` share them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valetkey.cli.screen import Screen
from valetkey.durations import parse_duration
from valetkey.errors import InvalidArgumentError, ValetKeyError
from valetkey.rotation_values import RotationSchedule
from valetkey.times import parse_moment
from valetkey.values import Connector

if TYPE_CHECKING:
    from valetkey.client import Client

_NOTED = "What is noted down of it"


def _option(*names: str, help_text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, show_default=False, rich_help_panel=_NOTED, metavar=metavar)


Description = Annotated[str | None, _option(help_text="For people; at most 500 characters.")]
Labels = Annotated[
    list[str] | None,
    _option("--label", "-l", help_text="Label, such as team=ml; may be repeated, up to 32.", metavar="KEY=VALUE"),
]
ExpiresAt = Annotated[
    str | None,
    _option(help_text="When the credential ends: 2027-06-01T00:00:00Z, or 365d. Nothing is refused because of it."),
]
ExpiresSkewTolerance = Annotated[
    str | None, _option(help_text="How much earlier it counts as ended: 1d, or plain seconds.")
]
RotateEvery = Annotated[
    str | None,
    _option(
        help_text="Have the broker rotate the credential by itself, that long after the last time: 30d; 0 ends that. "
        "It makes secrets of service principals, and takes account keys in turn."
    ),
]
RotateBy = Annotated[
    str | None,
    _option(
        help_text="Connector whose service principal makes them, where its own does not; needed for an account key.",
        metavar="CONNECTOR",
    ),
]
NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="Store it without asking the cloud; it shows as unverified.")
]
ProbeWrite = Annotated[
    bool,
    typer.Option(
        "--probe-write",
        help="Also write, read, list and delete a blob below .valetkey-probe/, with a token that stays in the broker, "
        "and make sure that the same token is refused elsewhere.",
    ),
]


def parse_labels(given: Iterable[str]) -> dict[str, str]:
    """Returns labels by name, with an empty value where none is given.

    Raises InvalidArgumentError where one has no name, comes twice, or is several.
    """
    found: dict[str, str] = {}
    for text in given:
        key, _, value = text.partition("=")
        if not key:
            raise InvalidArgumentError(f"--label: {text!r} is no label; expected one such as team=ml")
        if "," in text:
            each = " ".join(f"-l {part.strip()}" for part in text.split(","))
            raise InvalidArgumentError(f"--label: {text!r} would be one label; expected one for each: {each}")
        if key.startswith("valetkey/"):
            raise InvalidArgumentError(f"--label: {key!r} is valetkey's own; apply --owner sets the owner")
        if key in found:
            raise InvalidArgumentError(f"--label: {key!r} is given twice; expected one value for each")
        found[key] = value
    return found


def parse_schedule(every: str | None, by: str | None) -> RotationSchedule | None:
    """Returns the schedule that --rotate-every and --rotate-by say; None where neither is given.

    One of no duration stands for none. Raises InvalidArgumentError.
    """
    if every is None:
        if by is not None:
            raise InvalidArgumentError("--rotate-by is given without --rotate-every; expected both")
        return None
    return RotationSchedule(parse_duration(every, "--rotate-every"), by or "")


def notes_of(
    *,
    description: str | None,
    label: Iterable[str] | None,
    expires_at: str | None,
    expires_skew_tolerance: str | None,
) -> dict[str, Any]:
    """Returns what the options say, by the client's names; what is not given is left out.

    Raises InvalidArgumentError where one cannot be understood.
    """
    found: dict[str, Any] = {"description": description} if description is not None else {}
    if label:
        found["labels"] = parse_labels(label)
    if expires_at is not None:
        found["expire_time"] = parse_moment(expires_at, "--expires-at", ago=False)
    if expires_skew_tolerance is not None:
        found["expires_skew_tolerance"] = parse_duration(expires_skew_tolerance, "--expires-skew-tolerance")
    return found


def schedule(client: "Client", screen: Screen, connector: Connector, wanted: RotationSchedule | None) -> Connector:
    """Returns a connector once it has the schedule that is wanted, if one is. Raises ValetKeyError."""
    if wanted is None:
        return connector
    try:
        return client.set_rotation_schedule(connector.name, wanted if wanted.every else None)
    except ValetKeyError:
        screen.warn(f"{connector.name} is stored; that it is rotated by itself, is not:")
        raise
