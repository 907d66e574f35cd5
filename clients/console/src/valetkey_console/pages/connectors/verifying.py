"""Verifying a connector: what was checked, line by line."""

from typing import Any

from starlette.responses import Response

from valetkey import ValetKeyError
from valetkey_console.broker.failures import failure_on_page
from valetkey_console.pages.connectors.one import MOST_REACHED
from valetkey_console.visits.rendering import command
from valetkey_console.visits.visit import Visit


async def show(visit: Visit) -> Response:
    """Shows the form, of a connector that is there."""
    connector = await visit.broker.get_connector(visit.name())
    return _page(visit, connector.name, "", probe_write=False)


async def verify(visit: Visit) -> Response:
    """Verifies, and shows the checklist; for htmx the checklist alone."""
    form, name = await visit.form(), visit.name()
    resource_id, probe_write = str(form.get("resource_id", "")).strip(), "probe_write" in form
    try:
        reached = await visit.broker.verify_connector(name, resource_id=resource_id or None, probe_write=probe_write)
    except ValetKeyError as error:
        failure = failure_on_page(error)
        return _page(visit, name, resource_id, probe_write=probe_write, failure=failure)
    return _page(visit, name, resource_id, probe_write=probe_write, reached=reached)


def _page(visit: Visit, name: str, resource_id: str, *, probe_write: bool, **outcome: Any) -> Response:
    words = ["valetkey", "service-connector", "verify"]
    words += ["--resource-id", resource_id] if resource_id else []
    words += ["--probe-write"] if probe_write else []
    template = "connectors/outcome.html" if visit.fragment else "connectors/verify.html"
    known: dict[str, Any] = {
        "reached": None,
        "failure": None,
        "most": MOST_REACHED,
        "line": command(*words, of=name),
        **outcome,
    }
    return visit.render(template, name=name, resource_id=resource_id, probe_write=probe_write, **known)
