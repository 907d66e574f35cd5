"""The page of one grant."""

from datetime import UTC, datetime

from starlette.responses import Response

from valetkey_console.visits.rendering import command
from valetkey_console.visits.roles import ADMINS, OPERATORS, VIEWERS
from valetkey_console.visits.visit import Visit


async def show_one(visit: Visit) -> Response:
    """Shows what one grant says."""
    grant = await visit.broker.get_grant(visit.name())
    return visit.render(
        "grants/one.html",
        grant=grant,
        ended=grant.expire_time is not None and grant.expire_time <= datetime.now(UTC),
        sees_connectors=visit.may(VIEWERS),
        may_grant=visit.may(ADMINS),
        may_revoke=visit.may(OPERATORS),
        line=command("valetkey", "grant", "describe", of=grant.name),
    )
