"""Taking a grant away, after what goes along with it was said."""

from starlette.responses import Response

from valetkey import ValetKeyError
from valetkey.revocation_values import RevocationTarget
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.pages.independent_part import part
from valetkey_console.visits.rendering import command
from valetkey_console.visits.roles import OPERATORS
from valetkey_console.visits.visit import Visit

# How soon that counts everywhere (docs/operations.md).
_REMOVED = (
    "Brokers that reach Vault stop honouring it within 5 seconds; one that is cut off from Vault may go on until its "
    "vault.max_stale_seconds are over."
)


async def ask(visit: Visit) -> Response:
    """Says what goes along with the grant, and asks."""
    return await _page(visit)


async def delete(visit: Visit) -> Response:
    """Deletes the grant."""
    name = visit.name()
    try:
        await visit.broker.delete_grant(name)
    except ValetKeyError as error:
        return await _page(visit, failure_on_page(error))
    return visit.redirect("/grants", said=f"The grant {name} is deleted. {_REMOVED}")


async def _page(visit: Visit, failure: Failure | None = None) -> Response:
    name = visit.name()
    grant = await visit.broker.get_grant(name)
    # A look at what revoking it would cover: the broker counts the tokens that are out.
    covered = await part(visit, OPERATORS, lambda: visit.broker.preview_revocation(RevocationTarget(grant=name)))
    return visit.render(
        "grants/delete.html",
        grant=grant,
        covered=covered,
        failure=failure,
        line=command("valetkey", "grant", "delete", of=name),
    )
