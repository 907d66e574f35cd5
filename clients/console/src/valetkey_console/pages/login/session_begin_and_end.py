"""Where every log-in ends: a new session; and where that ends."""

from starlette.responses import Response

from valetkey import CallerIdentity
from valetkey_console.safety.local_paths import local_path
from valetkey_console.sessions.session import Session
from valetkey_console.visits.visit import Visit

# The attributes that may hold a name, as docs/authentication.md calls them in its examples.
_NAMES = ("user", "name", "email", "preferred-username")


async def begin(visit: Visit, bearer: str, back: str) -> Response:
    """Begins a session with what proves the person, and sends to where they were.

    Raises ValetKeyError where the broker does not take it, TooLargeError where no browser would keep it.
    """
    async with visit.console.clients.trial(bearer) as client:
        who = await client.who_am_i()
    ends = None if who.expire_time is None else who.expire_time.timestamp()
    old, visit.session = (
        visit.session,
        Session.begin(bearer, who.principal, who.roles, who.authentication, ends, name=_name(who)),
    )
    response = visit.redirect(local_path(back))
    if old is not None:
        visit.console.sessions.end(response, {}, old)
    visit.console.sessions.keep(response, visit.request.cookies, visit.session)
    return response


def _name(who: CallerIdentity) -> str:
    """Returns how the person is called, where an attribute says so; principals of issuers say it to nobody."""
    return next((who.attributes[each] for each in _NAMES if who.attributes.get(each)), "")


async def log_out(visit: Visit) -> Response:
    """Ends the session. What the issuer remembers of the person stays there."""
    old, visit.session = visit.session, None
    response = visit.redirect("/login?over=out")
    visit.console.sessions.end(response, visit.request.cookies, old)
    visit.console.said.clear(response, visit.request.cookies)
    if old is not None:
        await visit.console.clients.forget(old.bearer)
    return response
