"""Logging in and out."""

from starlette.responses import Response

from valetkey import UnauthenticatedError, ValetKeyError
from valetkey_console.broker.failures import failure_of
from valetkey_console.safety.local_paths import local_path
from valetkey_console.sessions.session import Session
from valetkey_console.visits.subjects import Subject, get, post
from valetkey_console.visits.visit import Visit

# Why a session ended, as the address of the log-in page says it.
_OVER = {
    "idle": "You were logged out: nothing was done for 30 minutes.",
    "long": "You were logged out: a log-in counts for 8 hours.",
    "token": "You were logged out: what proved who you are has ended.",
    "refused": "You were logged out: the broker takes your key or token no longer. It was revoked, or has ended.",
    "out": "You are logged out.",
}
# Longer than every key; whatever else was pasted is not sent to the broker.
_MOST_KEY = 200
_NO_KEY = "That is no API key; expected vk_ and 43 letters, digits, _ or -."


async def show(visit: Visit) -> Response:
    """Shows the ways to log in, and why one has to."""
    return _page(visit, visit.query.get("next", "/"), why=_OVER.get(visit.query.get("over", ""), ""))


async def with_api_key(visit: Visit) -> Response:
    """Logs in by an API key, where the settings allow it."""
    form = await visit.form()
    key, back = str(form.get("api_key", "")).strip(), str(form.get("next", "/"))
    if not visit.console.settings.api_key_login:
        return _page(visit, back, status=403, problem="This console takes no API keys (setting api_key_login).")
    if not key.isascii() or not key.isprintable() or " " in key or not 0 < len(key) <= _MOST_KEY:
        return _page(visit, back, status=400, problem=_NO_KEY)
    try:
        return await log_in(visit, key, back)
    except UnauthenticatedError:
        problem = "The broker does not know this key: it is mistyped, revoked or expired."
        return _page(visit, back, status=401, problem=problem)
    except ValetKeyError as error:
        failure = failure_of(error)
        return _page(visit, back, status=failure.status, problem=f"{failure.title}: {failure.message}")


async def log_in(visit: Visit, bearer: str, back: str) -> Response:
    """Begins a session with what proves the person, and sends to where they were. Raises ValetKeyError."""
    async with visit.console.clients.of(bearer) as client:
        who = await client.who_am_i()
    ends = None if who.expire_time is None else who.expire_time.timestamp()
    old, visit.session = visit.session, Session.begin(bearer, who.principal, who.roles, who.authentication, ends)
    response = visit.redirect(local_path(back))
    sessions, cookies = visit.console.sessions, visit.request.cookies
    if old is not None:
        sessions.end(response, {}, old)
    sessions.keep(response, cookies, visit.session)
    return response


async def log_out(visit: Visit) -> Response:
    """Ends the session."""
    old, visit.session = visit.session, None
    response = visit.redirect("/login?over=out")
    visit.console.sessions.end(response, visit.request.cookies, old)
    visit.console.said.clear(response, visit.request.cookies)
    return response


def _page(visit: Visit, back: str, *, status: int = 200, why: str = "", problem: str = "") -> Response:
    return visit.render("login/login.html", status=status, back=local_path(back), why=why, problem=problem)


SUBJECT = Subject(
    "login",
    (
        get("/login", show, session=False),
        post("/login", with_api_key, session=False),
        post("/logout", log_out, session=False),
    ),
)
