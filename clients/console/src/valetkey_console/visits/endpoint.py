"""From a request to a visit and back: the session, the roles, the broker's errors, and what nobody thought of."""

import logging
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlencode, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from valetkey import UnauthenticatedError, ValetKeyError
from valetkey_console.broker.failures import Failure, failure_of
from valetkey_console.broker.field_labels import LABELS, api_name
from valetkey_console.safety.local_paths import local_path, without_base
from valetkey_console.safety.pasted_signatures import without_signatures
from valetkey_console.visits.console import Console
from valetkey_console.visits.routing import Route, Section
from valetkey_console.visits.visit import Visit

log = logging.getLogger("valetkey_console")
# Names in addresses: the fields of the console's own forms, and the search; another is that of whoever made the link.
_LABELS = {**LABELS, "q": "Search"}
_READING = ("GET", "HEAD")
_LOGGED_OUT = Failure(
    "You are logged out",
    "The session has ended, and nothing was done.",
    "Log in in another tab: your entries are still in the form, to be sent again.",
    401,
)


def endpoint(console: Console, section: Section, route: Route) -> Callable[[Request], Awaitable[Response]]:
    """Returns what Starlette calls for a route."""

    async def answer(request: Request) -> Response:
        visit = Visit(request, console, section)
        found = console.sessions.find(request.cookies)
        visit.session = found.session
        try:
            if not route.session:
                return await route.handler(visit)
            if (elsewhere := _elsewhere(visit, found.over)) is not None:
                return elsewhere
            return await _as_person(visit, route)
        except ValetKeyError as error:
            return visit.fail(failure_of(error, reading=request.method in _READING))
        except HTTPException as error:
            # Forms that Starlette cannot read.
            return visit.fail(Failure("What was sent cannot be read", error.detail, "Try again.", error.status_code))
        except Exception:
            # Whatever it is, its text is not for the page.
            log.exception("visit %s failed", visit.id)
            return visit.fail(
                Failure(
                    "The console made a mistake",
                    "Nothing more is known here.",
                    "Tell whoever runs it.",
                    500,
                    "",
                    visit.id,
                )
            )

    return answer


async def _as_person(visit: Visit, route: Route) -> Response:
    allowed = visit.section.roles if route.roles is None else route.roles
    if not visit.may(allowed):
        return visit.fail(
            Failure(
                "You may not see this",
                f"It needs one of the roles {', '.join(sorted(allowed))}; you have {roles_of(visit)}.",
                "Ask an admin of the broker for the role.",
                403,
            )
        )
    try:
        async with visit.console.clients.of(visit.person.bearer) as visit.client:
            response = await route.handler(visit)
    except UnauthenticatedError:
        return to_login(visit, "refused")
    finally:
        visit.client = None
    if not route.background and visit.session is not None and (used := visit.session.used()) is not visit.session:
        visit.console.sessions.keep(response, visit.request.cookies, used)
    return response


def roles_of(visit: Visit) -> str:
    """Returns the roles of the person, in words."""
    return ", ".join(visit.person.roles) or "none"


def to_login(visit: Visit, over: str) -> Response:
    """Sends to the log-in, which says why the last one is `over`, and leads back to where the person was.

    A form that is sent from a page that stays keeps what was typed: there it is said what to do.
    """
    request = visit.request
    session, visit.session = visit.session, None
    if visit.fragment and request.method not in _READING:
        response = visit.fail(_LOGGED_OUT)
        if over:
            visit.console.sessions.end(response, request.cookies, session)
        return response
    back = _here(visit) if request.method == "GET" and not visit.fragment else _page_before(visit)
    said = f"&over={over}" if over else ""
    if request.method not in _READING:
        said += "&lost=form"
    path = visit.url(f"/login?next={quote(local_path(back), safe='')}{said}")
    if visit.fragment:
        response = Response(status_code=401, headers={"HX-Redirect": path})
    else:
        response = RedirectResponse(path, status_code=303)
    if over:
        visit.console.sessions.end(response, request.cookies, session)
    return response


def _elsewhere(visit: Visit, over: str) -> Response | None:
    """Returns what leads to where the browser has to go before it is shown this page, if it has to."""
    return _to_clean_address(visit) or (to_login(visit, over) if visit.session is None else None)


def _to_clean_address(visit: Visit) -> Response | None:
    """Sends from an address with a signature in it to the same without: it is kept, shown, copied and sent on."""
    if visit.request.method not in _READING:
        return None
    left, cut = without_signatures(visit.request.query_params.multi_items())
    if not cut:
        return None
    fields = ", ".join(dict.fromkeys(_LABELS.get(api_name(name).lower(), "Address") for name in cut))
    path = quote(without_base(visit.request.scope["path"], visit.console.settings.base_path), safe="/-._~")
    return visit.redirect(
        f"{path}?{urlencode(left)}",
        said=f"{fields}: the signature of a URL was left out, with all from its ? on; expected the URL up to there. "
        "A proxy in front of the console may have noted the signature: if the token is not to get about, revoke it.",
    )


def _here(visit: Visit) -> str:
    query = visit.request.scope["query_string"].decode("latin-1")
    path = without_base(visit.path, visit.console.settings.base_path)
    return path + (f"?{query}" if query else "")


def _page_before(visit: Visit) -> str:
    """Returns the page with the form or the part: a form's own address has nothing to show."""
    try:
        before = urlsplit(visit.request.headers.get("hx-current-url") or visit.request.headers.get("referer", ""))
    except ValueError:
        return "/"
    if f"{before.scheme}://{before.netloc}".lower() not in visit.console.settings.origins:
        return "/"
    return without_base(before.path, visit.console.settings.base_path) + (f"?{before.query}" if before.query else "")
