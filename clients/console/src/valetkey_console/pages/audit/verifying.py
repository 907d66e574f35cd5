"""Whether the ledger holds: the broker checks the chains of all of it, which takes its time."""

from starlette.responses import Response

from valetkey import DeadlineExceededError
from valetkey_console.visits.visit import Visit

LINE = "valetkey audit verify --save-heads heads.json"


async def show_verification(visit: Visit) -> Response:
    """Shows what verifying means; begins nothing, for a link can come from anywhere."""
    return visit.render("audit/verify.html", checked=False, line=LINE)


async def verify(visit: Visit) -> Response:
    """Has the ledger checked and shows what was found; for htmx that alone."""
    try:
        found = await visit.broker.verify_ledger()
    except DeadlineExceededError:
        found = None
    template = "audit/verify_part.html" if visit.fragment else "audit/verify.html"
    return visit.render(template, checked=True, found=found, line=LINE)
