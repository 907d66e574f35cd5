"""New grants, and changes to those that are there."""

from starlette.responses import Response

from valetkey import Connector, UnauthenticatedError, ValetKeyError
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.pages.grants.draft import Draft
from valetkey_console.pages.permission_choices import PERMISSION_CHOICES, ROLE_CHOICES
from valetkey_console.visits.rendering import segment
from valetkey_console.visits.visit import Visit

# More boxes are no help: then names are typed.
_MOST_BOXES = 30


async def new(visit: Visit) -> Response:
    """Shows the form, filled in with what a question asked."""
    draft = Draft.asked(visit.query)
    connectors = await visit.broker.list_connectors(limit=_MOST_BOXES + 1)
    if not draft.connectors and (name := await _reaching(visit, connectors)):
        draft = draft.with_connector(name)
    return await _form(visit, draft, connectors=connectors)


async def create(visit: Visit) -> Response:
    """Stores a new grant."""
    draft = Draft.sent(await visit.form())
    try:
        grant = await visit.broker.create_grant(draft.name, draft.spec())
    except ValetKeyError as error:
        return await _form(visit, draft, failure=failure_on_page(error))
    said = f"The grant {grant.name} is created and in effect."
    return visit.redirect(f"/grants/{segment(grant.name)}", said=said, warnings=grant.warnings)


async def edit(visit: Visit) -> Response:
    """Shows the form with what the grant says."""
    draft = Draft.of(await visit.broker.get_grant(visit.name()))
    return await _form(visit, draft, stored=draft)


async def save(visit: Visit) -> Response:
    """Stores the changed grant, if it is still what was shown."""
    sent = Draft.sent(await visit.form())
    name = visit.name()
    version = int(sent.version) if sent.version.isascii() and sent.version.isdecimal() else 0
    try:
        sent = sent.with_note_of(Draft.of(await visit.broker.get_grant(name)))
        grant = await visit.broker.update_grant(name, sent.spec(), version=version)
    except ValetKeyError as error:
        stored = Draft.of(await visit.broker.get_grant(name))
        return await _form(visit, sent, stored=stored, failure=failure_on_page(error))
    said = f"The grant {grant.name} is changed, and the change is in effect."
    return visit.redirect(f"/grants/{segment(grant.name)}", said=said, warnings=grant.warnings)


async def _form(
    visit: Visit,
    draft: Draft,
    *,
    connectors: list[Connector] | None = None,
    stored: Draft | None = None,
    failure: Failure | None = None,
) -> Response:
    if connectors is None:
        connectors = await visit.broker.list_connectors(limit=_MOST_BOXES + 1)
    boxes, ticked = _boxes(connectors, draft)
    return visit.render(
        "grants/form.html",
        draft=draft,
        stored=stored,
        failure=failure,
        boxes=boxes,
        ticked=ticked,
        roles=ROLE_CHOICES,
        permissions=PERMISSION_CHOICES,
        line=draft.line(stored),
    )


def _boxes(connectors: list[Connector], draft: Draft) -> tuple[list[tuple[str, str]], set[str]]:
    """Returns the connectors to choose from, and which are chosen; no boxes where there are too many of them.

    A grant is bound to identities: one that is gone, or was made anew under its name, stays to be seen as that.
    """
    if not 0 < len(connectors) <= _MOST_BOXES:
        return [], set()
    boxes = {each.uid: (f"{each.name}={each.uid}", f"{each.name} ({_serves(each)})") for each in connectors}
    by_name = {each.name: each.uid for each in connectors}
    ticked: set[str] = set()
    for text in draft.connectors:
        name, _, uid = text.partition("=")
        uid = uid or by_name.get(name, "")
        if uid not in boxes:
            boxes[uid] = (text, f"{name} (deleted, or registered again)")
        ticked.add(boxes[uid][0])
    return list(boxes.values()), ticked


def _serves(connector: Connector) -> str:
    return connector.resource_id or "everything it reaches"


async def _reaching(visit: Visit, connectors: list[Connector]) -> str:
    """Returns the connector that reaches what was asked for, if it is one; the form does without, if nobody knows."""
    if len(connectors) == 1:
        return connectors[0].name
    if not (resource := visit.query.get("resource", "").strip()):
        return ""
    try:
        entries = await visit.broker.list_resources(resource_id=resource)
    except UnauthenticatedError:
        raise
    except ValetKeyError:
        return ""
    found = {entry.connector for entry in entries if entry.resources}
    return found.pop() if len(found) == 1 else ""
