"""The newest records as they come. The page asks; where nobody looks, nobody asks."""

from datetime import UTC, datetime

from starlette.responses import Response

from valetkey_console.pages.audit.records import FILTERS, search_line, wanted
from valetkey_console.visits.visit import Visit

SHOWN = 50


async def show_tail(visit: Visit) -> Response:
    """Shows the page that follows the ledger; the address says which records."""
    asked = visit.asked((), filters=FILTERS)
    address = asked.address(size=50).removeprefix("?")
    if wanted(asked).problems:
        return visit.redirect(f"/audit?{address}")  # Where the form is, which says what is wrong.
    filtered = search_line(asked.filters) if any(asked.filters.values()) else ""
    return visit.render(
        "audit/tail.html", address=address, filtered=filtered, shown=SHOWN, line="valetkey audit tail --follow"
    )


async def show_news(visit: Visit) -> Response:
    """Returns the newest records, the newest first, and as of when: where none come, the page may just be cut off."""
    asked = visit.asked((), filters=FILTERS)
    asked_at = datetime.now(UTC)
    events = await visit.broker.list_events(newest=True, limit=SHOWN, **wanted(asked).require())
    return visit.render("audit/tail_part.html", events=events[::-1], asked_at=asked_at)
