"""`valetkey audit`: what was decided, and whether the record of it still holds."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from valetkey.calls.ledger import MOST_NEWEST
from valetkey.cli import error_output
from valetkey.cli.event_views import event_json, event_line, print_events
from valetkey.cli.global_options import client_of
from valetkey.cli.ledger_anchors import read_anchors, same_file, write_anchors
from valetkey.cli.option_choices import EventKind
from valetkey.cli.output_option import Output
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.client import Client
from valetkey.errors import DeadlineExceededError, InvalidArgumentError, UnavailableError
from valetkey.ledger_values import Event, LedgerHead, LedgerVerification
from valetkey.times import check_range, parse_moment

app = typer.Typer(help="Read the ledger of every decision, and prove it.", no_args_is_help=True)

_POLL_SECONDS = 1.0
_RETRY_SECONDS = 3.0
_MOST_PER_POLL = 1000
_SHOWN_WRITERS = 5


@app.command()
def tail(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    number: Annotated[
        int, typer.Option("--number", "-n", min=0, max=MOST_NEWEST, help="How many of the newest to begin with.")
    ] = 20,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show the newest records, one line each; with -o json, one JSON object a line."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        newest = client.list_events(newest=True, limit=max(number, 1))
        _print_lines(screen, newest if number else [])
        if follow:
            _follow(client, screen, newest[-1].id if newest else 0)


@app.command()
def search(
    context: typer.Context,
    kind: Annotated[EventKind | None, typer.Option(help="Only of this kind.", show_default=False)] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Only changes that were begun and whose outcome is not known.")
    ] = False,
    principal: Annotated[
        str | None, typer.Option(help="Only of this principal, such as key:trainer.", show_default=False)
    ] = None,
    connector: Annotated[str | None, typer.Option(help="Only of this connector.", show_default=False)] = None,
    request_id: Annotated[
        str | None, typer.Option(help="Only of this call; an error shows its request id.", show_default=False)
    ] = None,
    lease_id: Annotated[str | None, typer.Option(help="Only of this token.", show_default=False)] = None,
    resource: Annotated[
        str | None,
        typer.Option(
            help="Only tokens and refusals for this container, blob or directory, such as az://models or its URL.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only from then on: 1h ago, or 2026-05-01T12:00:00Z.", show_default=False)
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only before then, the same way.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the oldest first.")] = 100,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Find records, in the order of the ledger. Says so where there are more than --limit."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    start = parse_moment(since, "--since", ago=True) if since is not None else None
    end = parse_moment(until, "--until", ago=True) if until is not None else None
    check_range(start, end, since=("--since", since or ""), until=("--until", until or ""))
    with client_of(context, screen) as client:
        found = client.list_events(
            kind=kind.value if kind else None,
            unfinished=unfinished,
            principal=principal,
            connector=connector,
            request_id=request_id,
            lease_id=lease_id,
            resource=resource,
            since=start,
            until=end,
            limit=limit + 1,
        )
    if screen.as_json:
        screen.json([event_json(event) for event in found[:limit]])
    else:
        print_events(screen, found[:limit])
    if len(found) > limit:
        screen.note(f"there is more than these {limit}; narrow the search down, or raise --limit")


@app.command()
def verify(
    context: typer.Context,
    anchor_file: Annotated[
        Path | None,
        typer.Option(help="Heads that --save-heads wrote earlier: each must still be there.", show_default=False),
    ] = None,
    save_heads: Annotated[
        Path | None,
        typer.Option(
            help="Write the heads into this file if all holds, to be kept elsewhere. An existing file is replaced "
            "only if it is the --anchor-file.",
            show_default=False,
        ),
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Have the broker check the chains of the whole ledger. Exit code 1 if one is broken.

    Shows the first broken record, and the heads to note outside. For a big ledger allow more time: valetkey
    --timeout 10m audit verify.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    anchors = read_anchors(anchor_file) if anchor_file else ()
    if save_heads and save_heads.exists() and not (anchor_file and same_file(save_heads, anchor_file)):
        raise InvalidArgumentError(
            f"--save-heads: {save_heads} exists, and was not checked; expected a new file, or the --anchor-file itself"
        )
    with client_of(context, screen) as client, screen.busy("Checking the ledger"):
        found = client.verify_ledger(anchors)
    _print_verification(screen, found, anchors)
    if save_heads and found.intact:
        write_anchors(save_heads, found.heads)
    if not found.intact:
        raise typer.Exit(error_output.REFUSED)


def _print_lines(screen: Screen, events: list[Event]) -> None:
    for event in events:
        if screen.as_json:
            screen.json_line(event_json(event))
        else:
            screen.line(event_line(event))
    screen.flush()


def _follow(client: Client, screen: Screen, after_id: int) -> None:
    away = False
    while True:
        time.sleep(_POLL_SECONDS)
        try:
            events = client.list_events(after_id=after_id, limit=_MOST_PER_POLL)
        except (UnavailableError, DeadlineExceededError) as error:
            # A broker that restarts is no reason to stop watching it. Said once, not at every try.
            if not away:
                screen.warn(f"{error.message}; trying again")
            away = True
            time.sleep(error.retry_delay.total_seconds() if error.retry_delay else _RETRY_SECONDS)
            continue
        away = False
        _print_lines(screen, events)
        if events:
            after_id = events[-1].id


def _print_verification(screen: Screen, found: LedgerVerification, anchors: Sequence[LedgerHead]) -> None:
    if screen.as_json:
        heads = [{"writer": head.writer, "sequence": head.sequence, "hash": head.hash} for head in found.heads]
        screen.json(
            {
                "intact": found.intact,
                "records": found.records,
                "problem": found.problem,
                "broken_id": found.broken_id,
                "anchors_checked": len(anchors),
                "heads": heads,
            }
        )
        if not found.intact:
            screen.warn("the ledger is broken; do not anchor these heads")
    else:
        _print_findings(screen, found)
    if found.intact and not anchors:
        screen.note(
            "without --anchor-file nobody can see records that were cut off at the end of a chain, a whole chain that "
            "is gone, or a ledger that was replaced; keep the heads outside (--save-heads), and give them next time"
        )
    if anchors:
        _warn_of_new_writers(screen, found, anchors)


def _print_findings(screen: Screen, found: LedgerVerification) -> None:
    if found.intact:
        screen.line(f"The ledger holds: {found.records} records, every chain unbroken.")
    else:
        # Most problems begin with their record.
        where = f"record {found.broken_id}"
        told = (
            found.problem
            if not found.broken_id or found.problem.startswith(f"{where} ")
            else f"{where}: {found.problem}"
        )
        screen.line(f"The ledger is BROKEN: {told}")
        screen.line("Heads of a broken ledger; do not anchor these:")
    rows: list[list[Any]] = [[head.writer, str(head.sequence), head.hash] for head in found.heads]
    screen.table(["WRITER", "SEQUENCE", "HASH OF THE LAST RECORD"], rows, rules=False)


def _warn_of_new_writers(screen: Screen, found: LedgerVerification, anchors: Sequence[LedgerHead]) -> None:
    known = {head.writer for head in anchors}
    fresh = [head.writer for head in found.heads if head.writer not in known]
    if fresh:
        shown = ", ".join(fresh[:_SHOWN_WRITERS]) + (", …" if len(fresh) > _SHOWN_WRITERS else "")
        screen.warn(
            f"not among the anchors: {len(fresh)} writer{'s' if len(fresh) > 1 else ''} ({shown}); each start of a "
            "broker makes one per worker, and somebody who can write to the database can invent one; check that you "
            "know them"
        )
