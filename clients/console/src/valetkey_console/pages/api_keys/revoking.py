"""The end of a key, with what goes along."""

from starlette.responses import Response

from valetkey import ValetKeyError
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.fields.parsing import wrong
from valetkey_console.pages.api_keys.one import key_of
from valetkey_console.visits.rendering import command
from valetkey_console.visits.visit import Visit

MOST_LEASES = 500


async def show_revoke(visit: Visit) -> Response:
    """Shows what goes along with the key, and asks for its name."""
    return await _form(visit)


async def revoke(visit: Visit) -> Response:
    """Revokes the key for good."""
    form = await visit.form()
    name = visit.name()
    try:
        if str(form.get("typed", "")).strip() != name:
            raise wrong("confirm", f"this is not the name of the key; expected {name}. Nothing was revoked")
        await visit.broker.revoke_api_key(name)
    except ValetKeyError as error:
        return await _form(visit, failure=failure_on_page(error))
    return visit.redirect("/api-keys", said=f"Revoked the API key {name}. Every broker refuses it within 5 seconds.")


async def _form(visit: Visit, *, failure: Failure | None = None) -> Response:
    key = await key_of(visit.broker, visit.name())
    principal = f"key:{key.name}"
    leases = await visit.broker.list_leases(principal=principal, limit=MOST_LEASES)
    grants = [grant.name for grant in await visit.broker.list_grants() if principal in grant.principals]
    return visit.render(
        "api_keys/revoke.html",
        key=key,
        own=visit.person.principal == principal,
        leases=leases,
        more=len(leases) == MOST_LEASES,
        grants=grants,
        failure=failure,
        line=command("valetkey", "api-key", "revoke", of=key.name),
    )
