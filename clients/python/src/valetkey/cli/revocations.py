"""`valetkey lease revoke`, `list-revocations` and `lift`: taking access back."""

import time
from typing import Annotated

import typer

from valetkey.cli.confirmation import confirm
from valetkey.cli.global_options import client_of
from valetkey.cli.output_option import Output
from valetkey.cli.revocation_views import (
    keys_words,
    preview_json,
    print_preview,
    print_revocations,
    revocation_json,
    rotation_words,
    target_words,
)
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.client import Client
from valetkey.durations import parse_duration
from valetkey.errors import InvalidArgumentError
from valetkey.revocation_values import Revocation, RevocationTarget
from valetkey.times import utc

_LOOK_SECONDS = 1.0


def revoke(
    context: typer.Context,
    *,
    lease_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[LEASE-ID]",
            help="A living lease: stands for its principal, connector and resource.",
            show_default=False,
        ),
    ] = None,
    principal: Annotated[
        str | None, typer.Option(help="Everything of this principal, such as key:trainer.", show_default=False)
    ] = None,
    grant: Annotated[str | None, typer.Option(help="Everything that this grant allows.", show_default=False)] = None,
    connector: Annotated[str | None, typer.Option(help="Everything of this connector.", show_default=False)] = None,
    resource: Annotated[
        str | None,
        typer.Option(
            help="Everything that opens any of this container, blob or directory.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; those who are refused are told.", show_default=False)] = "",
    hard: Annotated[
        bool,
        typer.Option(
            "--hard",
            help="End tokens that are out, with the keys that signed them, and so all that anybody signed with those.",
        ),
    ] = False,
    through: Annotated[
        str | None,
        typer.Option(
            "--through",
            "--by",
            help="With --hard: connector whose principal may end keys; left out, that of the tokens, or of a schedule.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        str, typer.Option(help="With --hard: how long to wait until storage refuses a token; 0s: not at all.")
    ] = "2m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would hit, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Revoke a lease, or all that a principal, a grant, a connector or a resource gives: several have to fit together.

    Says first what it hits and what can be done about tokens that are out, then asks; --yes says yes. Streams end at
    once, and further tokens are refused until `lease lift`. Tokens that are out live to their end, which is shown;
    with --hard they are ended by the keys that signed them: user delegation keys are revoked, and an account's own key
    is rotated, and the old one made anew at once.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    seconds = parse_duration(wait, "--wait").total_seconds() if wait not in ("0", "0s") else 0.0
    target = RevocationTarget(
        lease_id=lease_id or "",
        principal=principal or "",
        grant=grant or "",
        connector=connector or "",
        resource=resource or "",
    )
    if target == RevocationTarget():
        raise InvalidArgumentError(
            "nothing is named; expected a lease id, or --principal, --grant, --connector or --resource"
        )
    with client_of(context, screen) as client:
        preview = client.preview_revocation(target, through=through)
        if dry_run and screen.as_json:
            screen.json(preview_json(preview))
            return
        print_preview(screen, preview, hard=hard)
        if dry_run:
            return
        how = ", and the keys with it, which no lifting brings back" if hard else ""
        consequences = f"until `valetkey lease lift`{how}"
        confirm(screen, f"revoke {target_words(target)}", consequences, yes=yes, for_good=False)
        made = client.create_revocation(target, reason=reason, hard=hard, through=through)
        if hard and seconds:
            with screen.busy(f"Revoking {made.name}: waiting until storage refuses a token"):
                made = _followed(screen, client, made, seconds)
    if screen.as_json:
        screen.json({**revocation_json(made), "preview": preview_json(preview)})
    else:
        _tell(screen, made)


def list_revocations(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were lifted.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the revocations in force, newest first: what they cover, and how far they are."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        found = client.list_revocations(include_lifted=everything)
    if screen.as_json:
        screen.json([revocation_json(each) for each in found])
    else:
        print_revocations(screen, found)


def lift(
    context: typer.Context,
    revocation: Annotated[
        str, typer.Argument(metavar="ID", help="As `lease list-revocations` shows it.", show_default=False)
    ],
    output: Output = OutputFormat.TABLE,
) -> None:
    """Lift a revocation: tokens are issued again, to those whom grants allow them. Dead tokens stay dead."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        lifted = client.lift_revocation(revocation)
    if screen.as_json:
        screen.json(revocation_json(lifted))
    else:
        screen.line(
            f"Lifted {lifted.name}: {target_words(lifted.target)} may have tokens again, where grants allow it."
        )


def _followed(screen: Screen, client: Client, made: Revocation, seconds: float) -> Revocation:
    """Returns the revocation once storage acts on it, or as it is after so many seconds: the broker goes on alone."""
    deadline, shown = time.monotonic() + seconds, ""
    while made.state == "revoking" and time.monotonic() < deadline:
        if (now := rotation_words(made)) != shown:
            screen.progress(now)
            shown = now
        time.sleep(min(_LOOK_SECONDS, max(deadline - time.monotonic(), 0.01)))
        made = client.get_revocation(made.name)
    return made


def _tell(screen: Screen, made: Revocation) -> None:
    screen.line(f"Revocation {made.name}: {made.state}. {target_words(made.target)}")
    if made.hard:
        screen.line(f"Keys: {keys_words(made)}")
        if made.state == "revoking":
            screen.note("the broker goes on by itself; see how far it is with: valetkey lease list-revocations")
    elif made.state == "waiting" and made.covered_until:
        screen.line(f"The last token that is out ends at {utc(made.covered_until)}.")
    screen.note(f"lift it with: valetkey lease lift {made.name}")
