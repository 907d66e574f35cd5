"""Registering a connector, step by step: which auth method, what it takes, what it would reach.

Forms are made of the broker's own description of its types, so that a new auth method needs no change here.
"""

from typing import Any

from starlette.responses import Response

from valetkey import NotFoundError, ValetKeyError
from valetkey.connector_type_values import AuthMethodDescription, ConnectorTypeDescription, FieldDescription
from valetkey_console.broker.failures import failure_on_page
from valetkey_console.pages.connectors.credential_form import typed_text
from valetkey_console.pages.connectors.draft import NAMED, Draft, place_fields, read_draft, sketch
from valetkey_console.pages.connectors.one import MOST_REACHED
from valetkey_console.visits.rendering import segment
from valetkey_console.visits.visit import Visit

# A newer broker's word that this console's client has no number for: see valetkey.convert.to_word.
_UNKNOWN = "unknown-"


async def choose(visit: Visit) -> Response:
    """Shows the ways to log in that the broker has, of each of its types."""
    types = await visit.broker.list_connector_types()
    secrets = await visit.broker.list_secrets()
    return visit.render("connectors/choose.html", types=types, secrets=secrets, unknown=_UNKNOWN, named=NAMED)


async def show(visit: Visit) -> Response:
    """Shows the form of one auth method."""
    described, method = await _described(visit)
    return _page(visit, described, method, sketch(described, method), {})


async def register(visit: Visit) -> Response:
    """Checks what was given, or registers it; for htmx, what came of it goes below the form, which stays as it is."""
    described, method = await _described(visit)
    form = await visit.form()
    doing, typed = str(form.get("do", "")), typed_text(form)
    draft = sketch(described, method)
    try:
        draft = await read_draft(form, described, method)
        if doing == "check" and method.auth_method != NAMED:
            reached = await visit.broker.check_connector(draft.name, **draft.checked())
            return _page(visit, described, method, draft, typed, reached=reached)
        created = await visit.broker.create_connector(draft.name, **draft.created(), verify=doing != "unverified")
    except ValetKeyError as error:
        failure = failure_on_page(error)
        # Where the broker had a look at it, it can be stored all the same: its cloud may be away, or a role be missing.
        untried = bool(error.checks)
        return _page(visit, described, method, draft, typed, failure=failure, untried=untried)
    count = len(created.resources) + created.resources.left_out
    what = (
        f"and reaches {count} {'resource' if count == 1 else 'resources'}"
        if doing != "unverified"
        else "without verification: use Verify to see whether it works"
    )
    said = f"{draft.name} is registered, {what}."
    return visit.redirect(f"/connectors/{segment(draft.name)}", said=said, warnings=created.warnings)


async def _described(visit: Visit) -> tuple[ConnectorTypeDescription, AuthMethodDescription]:
    """Returns what the address names. Raises NotFoundError where the broker has no such thing."""
    types = await visit.broker.list_connector_types()
    wanted_type, wanted = visit.name("type"), visit.name("auth_method")
    described = next((each for each in types if each.type == wanted_type), None)
    if described is None:
        known = ", ".join(each.type for each in types)
        raise NotFoundError(f"the broker has no connectors of the type {wanted_type[:50]!r}; expected one of {known}")
    if wanted == NAMED:
        return described, await _by_named_secret(visit)
    for method in described.auth_methods:
        if method.auth_method == wanted:
            return described, method
    known = ", ".join(each.auth_method for each in described.auth_methods)
    raise NotFoundError(f"the broker has no auth method {wanted[:50]!r}; expected one of {known}")


async def _by_named_secret(visit: Visit) -> AuthMethodDescription:
    names = tuple(each.name for each in await visit.broker.list_secrets())
    help_text = "It has the credential and the auth method. Other connectors may use it, too."
    field = FieldDescription(NAMED, secret=False, required=True, help=help_text, example="NAME", choices=names)
    return AuthMethodDescription(NAMED, "Named secret", "A credential that several connectors share.", (field,))


def _page(
    visit: Visit,
    described: ConnectorTypeDescription,
    method: AuthMethodDescription,
    draft: Draft,
    typed: dict[str, str],
    **outcome: Any,
) -> Response:
    template = "connectors/register_outcome.html" if visit.fragment else "connectors/register.html"
    known: dict[str, Any] = {"reached": None, "failure": None, "untried": False, "most": MOST_REACHED, **outcome}
    return visit.render(
        template,
        described=described,
        method=method,
        places=place_fields(described, method),
        typed=typed,
        draft=draft,
        checkable=method.auth_method != NAMED,
        **known,
    )
