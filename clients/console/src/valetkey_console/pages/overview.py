"""The first page: who one is to the broker, what is not well, what ends soon, and who was refused."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

from starlette.responses import Response

from valetkey_console.pages.independent_part import part
from valetkey_console.visits.roles import ADMINS, AUDITORS, OPERATORS, VIEWERS
from valetkey_console.visits.routing import Section, get
from valetkey_console.visits.visit import Visit

SOON = timedelta(days=30)
LATELY = timedelta(hours=1)
# Of the refusals of the last hour; the newest, for counting.
_MOST_EVENTS = 1_000
_MOST_SHOWN = 10


async def show(visit: Visit) -> Response:
    """Shows each part that the person may see; one that fails does not take the others along.

    What asks Vault and the cloud comes after the page: where one of these is away, that takes seconds.
    """
    since = datetime.now(UTC) - LATELY
    broker = visit.broker
    who, connectors, left, refusals, strangers = await asyncio.gather(
        broker.who_am_i(),
        part(visit, VIEWERS, broker.list_connectors),
        part(visit, VIEWERS | AUDITORS, broker.get_issuing_left),
        *(
            part(visit, AUDITORS, partial(broker.list_events, kind=kind, newest=True, since=since, limit=_MOST_EVENTS))
            for kind in ("denied", "authentication-failed")
        ),
    )
    return visit.render(
        "overview/overview.html",
        who=who,
        connectors=connectors,
        ill=[each for each in connectors.value or () if each.health is not None and not each.health.healthy],
        left=left,
        sees_endings=visit.may(VIEWERS),
        refusals=refusals,
        strangers=strangers,
        unknown=sum(event.count for event in strangers.value or ()),
        reasons=Counter(event.reason for event in refusals.value or () for _ in range(event.count)).most_common(),
        shown=_MOST_SHOWN,
        operates=visit.may(OPERATORS),
        administers=visit.may(ADMINS),
        now=datetime.now(UTC),
    )


async def show_endings(visit: Visit) -> Response:
    """Shows what ends soon, as a part of the first page, and what is not known of it."""
    broker = visit.broker
    endings = await part(visit, VIEWERS, lambda: broker.list_expiring(SOON))
    # Asked for afterwards: that Vault is away may have come out by the other question.
    left = await part(visit, VIEWERS, broker.get_issuing_left)
    return visit.render(
        "overview/endings_part.html" if visit.fragment else "overview/endings.html",
        endings=endings,
        vault_away_since=left.value.vault_away_since_time if left.value else None,
        shown=_MOST_SHOWN,
        operates=visit.may(OPERATORS),
        administers=visit.may(ADMINS),
        now=datetime.now(UTC),
    )


SECTION = Section(
    "overview",
    (get("/", show), get("/endings", show_endings, roles=VIEWERS)),
    title="Overview",
    path="/",
    order=10,
)
