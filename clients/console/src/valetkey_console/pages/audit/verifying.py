"""Whether the ledger holds: the broker checks the chains of all of it, which takes its time."""

from starlette.responses import Response

from valetkey import DeadlineExceededError
from valetkey_console.visits.visit import Visit

LINE = "valetkey audit verify --save-heads heads.json"


async def show_verification(visit: Visit) -> Response:
    """Shows what verifying means, and begins it where the address says so: a reload begins it anew."""
    return visit.render("audit/verify.html", begun=visit.query.get("run") == "1", line=LINE)


async def show_result(visit: Visit) -> Response:
    """Returns what checking found, once it is known."""
    if not visit.fragment:
        return visit.redirect("/audit/verify")
    try:
        found = await visit.broker.verify_ledger()
    except DeadlineExceededError:
        found = None
    return visit.render("audit/verify_part.html", found=found)
