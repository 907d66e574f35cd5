"""The page of one revocation: how far it is, and lifting it."""

from starlette.responses import Response

from valetkey import ValetKeyError
from valetkey.revocation_words import holder_words, target_words
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.visits.rendering import command
from valetkey_console.visits.roles import OPERATORS
from valetkey_console.visits.visit import Visit


async def show_one(visit: Visit) -> Response:
    """Shows one revocation."""
    return await _page(visit, "revocations/one.html")


async def progress(visit: Visit) -> Response:
    """Shows how far it is, for a page that renews this part."""
    return await _page(visit, "revocations/progress.html")


async def ask_lift(visit: Visit) -> Response:
    """Says what lifting does, and asks."""
    return await _page(visit, "revocations/lift.html")


async def lift(visit: Visit) -> Response:
    """Lifts it."""
    try:
        lifted = await visit.broker.lift_revocation(visit.name())
    except ValetKeyError as error:
        return await _page(visit, "revocations/lift.html", failure_on_page(error))
    covers = ", ".join(target_words(lifted.target))
    return visit.redirect("/revocations", said=f"Lifted: {covers} may get tokens again if grants allow it.")


async def _page(visit: Visit, template: str, failure: Failure | None = None) -> Response:
    found = await visit.broker.get_revocation(visit.name())
    return visit.render(
        template,
        revocation=found,
        words=target_words(found.target),
        holder_words=holder_words,
        failure=failure,
        may_lift=visit.may(OPERATORS) and found.state != "lifted",
        line=command("valetkey", "lease", "lift", of=found.name),
        list_line=command("valetkey", "lease", "list-revocations", "--all"),
    )
