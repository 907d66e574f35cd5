"""The page to log in at: why one has to, and by what one can."""

from starlette.responses import Response

from valetkey import ValetKeyError
from valetkey.login.login_offer import LoginOffer
from valetkey_console.broker.failures import Failure, failure_of
from valetkey_console.safety.local_paths import local_path
from valetkey_console.visits.visit import Visit

# Why a session ended, as the address of the page says it.
_OVER = {
    "idle": "You were logged out after 30 minutes without activity.",
    "long": "You were logged out: a session lasts 8 hours.",
    "token": "You were logged out: your access token or API key has expired.",
    "refused": "You were logged out: the broker no longer accepts your key or token. It was revoked or has expired.",
    "out": "You are logged out.",
}
_LOST = "What you had just sent was not done; logging in leads back to its page."


async def show(visit: Visit) -> Response:
    """Shows the ways to log in."""
    said = (_OVER.get(visit.query.get("over", "")), _LOST if "lost" in visit.query else "")
    return await page(visit, visit.query.get("next", "/"), why=" ".join(filter(None, said)))


async def page(
    visit: Visit, back: str, *, status: int = 200, why: str = "", problem: str = "", failure: Failure | None = None
) -> Response:
    """Returns the page; `back` is where the person wants to go, `problem` what was wrong with the last try, and
    `failure` what with the text that was typed as a key.
    """
    offers: tuple[LoginOffer, ...] = ()
    try:
        offers = await visit.console.log_ins.offers()
    except ValetKeyError as error:
        # What was wrong with a key that was typed stays told: that is what the person is waiting for.
        failure = failure or failure_of(error, reading=True)
    return visit.render(
        "login/login.html",
        status=status,
        back=local_path(back),
        why=why,
        problem=problem,
        offers=offers,
        failure=failure,
    )
