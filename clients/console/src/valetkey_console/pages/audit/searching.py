"""Finding records: by what they say, all of one request, and one by itself."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from starlette.responses import Response

from valetkey import Event, InvalidArgumentError, NotFoundError
from valetkey_console.lists.list_query import Asked
from valetkey_console.pages.audit.records import COLUMNS, FILTERS, KINDS, MOST, search_line, wanted
from valetkey_console.visits.rendering import command
from valetkey_console.visits.visit import Visit

_REQUEST_ID = "request_id"


async def show_records(visit: Visit) -> Response:
    """Shows the newest records that fit, and leads to older ones where there are more."""
    asked = visit.asked(COLUMNS, sort="-time", filters=FILTERS)
    events, problems = await _found(visit, asked)
    cut = len(events) == MOST
    # The API tells no more of the newest than these; those before end where these begin, which is shown twice.
    before = f"{events[0].time + timedelta(microseconds=1):%Y-%m-%dT%H:%M:%S.%fZ}" if cut else ""
    return visit.list_page(
        "audit/list.html",
        COLUMNS,
        events,
        asked,
        cut=cut,
        older=asked.address(until=before, page=1) if cut else "",
        kinds=KINDS,
        problems=problems,
        status=400 if problems else 200,
        line=search_line(asked.filters),
    )


async def _found(visit: Visit, asked: Asked) -> tuple[Sequence[Event], Mapping[str, str]]:
    """Returns the records, or by filter what is wrong with it: the page says it beside the field.

    Raises InvalidArgumentError where a file is asked for, and where no filter is at fault.
    """
    wants = wanted(asked)
    if wants.problems and not asked.download:
        return (), wants.problems
    try:
        return await visit.broker.list_events(newest=True, limit=MOST, **wants.require()), {}
    except InvalidArgumentError as error:
        field, _, problem = error.message.partition(": ")
        name = "resource" if field == "resource_id" else field
        if asked.download or name not in asked.filters:
            raise
        return (), {name: problem}


async def show_request(visit: Visit) -> Response:
    """Shows all that one call left on record, in order."""
    request_id = visit.name()
    events = await visit.broker.list_events(request_id=request_id, limit=MOST)
    line = search_line({_REQUEST_ID: request_id})
    return visit.render("audit/request.html", request_id=request_id, events=events, line=line, cut=len(events) == MOST)


async def show_record(visit: Visit) -> Response:
    """Shows all that one record says."""
    number = visit.name()
    place = int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else 0  # noqa: PLR2004 (an int64)
    events = await visit.broker.list_events(after_id=place - 1, limit=1) if place else []
    if not events or events[0].id != place:
        raise NotFoundError(f"there is no record {number!r} in the ledger; it may have been pruned")
    line = command("valetkey", "audit", "search", "--request-id", events[0].request_id) if events[0].request_id else ""
    return visit.render("audit/record.html", event=events[0], line=line)
