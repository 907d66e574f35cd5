"""`valetkey issuing-left`: for how long tokens could go on being issued if Vault went away now, or Entra."""

from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from valetkey.cli.global_options import client_of
from valetkey.cli.output_option import Output
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.durations import show_duration
from valetkey.ending_values import IssuingLeft
from valetkey.times import utc


def issuing_left(context: typer.Context, *, output: Output = OutputFormat.TABLE) -> None:
    """Say for how long tokens could go on being issued if Vault went away now, or Entra, and what stops first.

    It is told of the memory of the worker that answers; each has keys of its own.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        left = client.get_issuing_left()
    if screen.as_json:
        screen.json(_json(left))
    else:
        _print(screen, left)


def _print(screen: Screen, left: IssuingLeft) -> None:
    now = datetime.now(UTC)
    away = left.vault_away_since_time
    screen.properties(
        [
            ("without Vault", _until(left.without_vault_end_time, now)),
            ("Vault has not answered", f"since {utc(away)}" if away else ""),
            ("without Entra", _without_entra(left, now)),
            ("without a key", _names(left.connectors_without_key, left.connectors_without_key_left_out)),
            ("need no Entra", _counted(left.connectors_with_lasting_keys)),
        ]
    )
    if left.accounts:
        screen.table(
            ["CONNECTOR", "ACCOUNT", "WITHOUT ENTRA", "NO NEW KEY SINCE"],
            [
                [
                    each.connector,
                    each.account,
                    _until(each.end_time, now),
                    utc(each.failing_since_time) if each.failing_since_time else "",
                ]
                for each in left.accounts
            ],
        )
    if left.accounts_left_out:
        screen.note(f"{left.accounts_left_out} more accounts stop later")
    if left.connectors_without_key:
        screen.note("connectors without a key issue nothing without Entra: nobody had a token by them lately")


def _without_entra(left: IssuingLeft, now: datetime) -> str:
    if left.accounts:
        first = left.accounts[0]
        return f"{_until(first.end_time, now)}: {first.connector} on {first.account} stops first"
    if left.connectors_without_key:
        return "stops at once: no key is in memory"
    if left.connectors_with_lasting_keys:
        return "goes on: no connector needs it"
    return "not known: no connector is registered"


def _until(end: datetime, now: datetime) -> str:
    if end <= now:
        return f"stopped {_span(now - end)} ago, {utc(end)}"
    return f"until {utc(end)}, {_span(end - now)} from now"


def _span(span: timedelta) -> str:
    """Returns a span without its seconds, but for one of less than a minute."""
    whole = timedelta(minutes=span // timedelta(minutes=1))
    return show_duration(whole or span)


def _names(names: tuple[str, ...], more: int) -> str:
    return ", ".join(names) + (f" and {more} more" if more else "")


def _counted(connectors: int) -> str:
    return f"{connectors} connector{'' if connectors == 1 else 's'}" if connectors else ""


def _json(left: IssuingLeft) -> dict[str, Any]:
    return {
        "without_vault": _moment(left.without_vault_end_time),
        "vault_away_since_time": _optional(left.vault_away_since_time),
        "without_entra": [
            {
                "connector": each.connector,
                "account": each.account,
                **_moment(each.end_time),
                "failing_since_time": _optional(each.failing_since_time),
            }
            for each in left.accounts
        ],
        "without_entra_left_out": left.accounts_left_out,
        "connectors_without_key": list(left.connectors_without_key),
        "connectors_without_key_left_out": left.connectors_without_key_left_out,
        "connectors_with_lasting_keys": left.connectors_with_lasting_keys,
    }


def _moment(end: datetime) -> dict[str, Any]:
    """Returns a moment and the seconds until then, negative once it has passed."""
    return {"end_time": utc(end), "seconds_left": int((end - datetime.now(UTC)).total_seconds())}


def _optional(moment: datetime | None) -> str | None:
    return utc(moment) if moment else None
