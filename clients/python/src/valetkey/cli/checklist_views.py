"""What was checked of a connector, as rows, as causes with their remedies, and as JSON."""

from collections.abc import Sequence
from typing import Any

from valetkey.checklist_values import Check
from valetkey.cli.screen import Screen

# More rows than these bury what failed: of many accounts only those lines are shown that have something to say.
_MOST_ROWS = 40
_STYLES = {"ok": "green", "failed": "bold red", "warning": "yellow"}
_SILENT = frozenset({"ok", "not-tried"})


def checks_json(checks: Sequence[Check]) -> list[dict[str, str]]:
    """Returns the lines as JSON objects."""
    return [
        {
            "step": check.step,
            "outcome": check.outcome,
            "account": check.account,
            "container": check.container,
            "message": check.message,
            "mend": check.mend,
        }
        for check in checks
    ]


def print_checks(screen: Screen, checks: Sequence[Check], *, aside: bool = False) -> None:
    """Prints the lines as a table, and below it what to do; with `aside` on standard error, beside an error."""
    if not checks:  # An older broker's.
        return
    from rich.text import Text  # noqa: PLC0415 (see Screen)

    shown = checks if len(checks) <= _MOST_ROWS else [check for check in checks if check.outcome not in _SILENT]
    rows: list[list[str | Text]] = [
        [
            check.step,
            "/".join(filter(None, (check.account, check.container))),
            Text(check.outcome.replace("-", " "), style=_STYLES.get(check.outcome, "dim")),
            check.message,
        ]
        for check in shown
    ]
    screen.table(["CHECK", "WHERE", "RESULT", "FOUND"], rows, rules=False, aside=aside)
    if len(shown) < len(checks):
        screen.note(f"{len(checks) - len(shown)} more checks hold, or needed not be tried; -o json has them")
    # One remedy is often that of several lines.
    for mend in dict.fromkeys(check.mend for check in shown if check.mend):
        steps = ", ".join(dict.fromkeys(f"`{check.step}`" for check in shown if check.mend == mend))
        screen.note(f"to mend {steps}: {mend}")


def worst(checks: Sequence[Check]) -> str:
    """Returns `failed`, `warning` or `ok`."""
    outcomes: Any = {check.outcome for check in checks}
    return next((outcome for outcome in ("failed", "warning") if outcome in outcomes), "ok")
