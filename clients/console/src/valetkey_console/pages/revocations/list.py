"""The list of revocations: those in force, or all."""

from starlette.responses import Response

from valetkey.revocation_values import Revocation
from valetkey.revocation_words import target_words
from valetkey_console.lists.column_filters import filtered
from valetkey_console.lists.columns import Column
from valetkey_console.pages.revocations.key_revocation_words import keys_words
from valetkey_console.visits.rendering import command, segment
from valetkey_console.visits.roles import OPERATORS
from valetkey_console.visits.visit import Visit

STATES = ("waiting", "revoking", "revoked", "lifted")

COLUMNS = (
    Column[Revocation](
        "id", "Revocation", lambda each: each.name, link=lambda each: f"/revocations/{segment(each.name)}", look="code"
    ),
    Column[Revocation]("state", "State", lambda each: each.state, look="state"),
    Column[Revocation]("covers", "Covers", lambda each: target_words(each.target), look="code"),
    Column[Revocation]("keys", "Keys", keys_words),
    Column[Revocation]("end", "Last token expires", lambda each: each.covered_until, seldom=True),
    Column[Revocation]("revoked", "Revoked", lambda each: each.create_time),
    Column[Revocation]("by", "By", lambda each: each.created_by, look="code"),
    Column[Revocation]("lifted_by", "Lifted by", lambda each: each.lifted_by or None, look="code", seldom=True),
    Column[Revocation]("reason", "Reason", lambda each: each.reason, seldom=True),
)


async def show_list(visit: Visit) -> Response:
    """Shows the revocations in force, with `lifted` all there ever were."""
    asked = visit.asked(COLUMNS, sort="-revoked", filters=("state", "lifted"))
    everything = bool(asked.filters["lifted"]) or asked.filters["state"] == "lifted"
    found = await visit.broker.list_revocations(include_lifted=everything)
    return visit.list_page(
        "revocations/list.html",
        COLUMNS,
        filtered(found, COLUMNS, {"state": asked.filters["state"]}),
        asked,
        there=bool(found) or any(asked.filters.values()),
        states=STATES,
        may_revoke=visit.may(OPERATORS),
        line=command("valetkey", "lease", "list-revocations", *(["--all"] if everything else [])),
    )
