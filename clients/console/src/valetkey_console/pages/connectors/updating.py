"""Changing what is said of a connector; its credential is changed by rotating, which proves it first."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import FormData
from starlette.responses import Response

from valetkey import ConflictError, Connector, InvalidArgumentError, ValetKeyError
from valetkey.connector_type_values import ConnectorTypeDescription, FieldDescription
from valetkey.times import utc
from valetkey_console.broker.failures import failure_on_page
from valetkey_console.fields.parsing import duration, lines, moment, pairs
from valetkey_console.pages.connectors.consequences import bound_to, differences
from valetkey_console.pages.connectors.credential_form import typed_text
from valetkey_console.pages.connectors.draft import text_of
from valetkey_console.pages.field_problems import FieldProblems
from valetkey_console.visits.rendering import command, option, segment, visible
from valetkey_console.visits.visit import Visit

_PLAIN = ("description", "resource_type", "resource_id")
_TIMES = ("expire_time", "expires_skew_tolerance")


async def show(visit: Visit) -> Response:
    """Shows the form as the connector is."""
    connector = await visit.broker.get_connector(visit.name())
    return await _page(visit, connector, said_of(connector))


async def update(visit: Visit) -> Response:
    """Changes what differs from what the form showed first."""
    connector = await visit.broker.get_connector(visit.name())
    form = await visit.form()
    typed = typed_text(form)
    changes: dict[str, Any] = {}
    try:
        if typed.get("seen") != seen(connector):
            raise ConflictError(
                "the connector was changed since this page was loaded; reload the page, which discards what you entered"
            )
        changes = changed(form, connector)
        if not any(changes.values()):
            raise InvalidArgumentError("nothing was changed in the form; expected a change")
        differing = differences(connector, changes)
        if differing and "confirmed" not in form:
            bound = await bound_to(visit, connector)
            if bound.grants or bound.grants is None:
                return await _page(visit, connector, typed, changes=changes, differing=differing, bound=bound)
        made = await visit.broker.update_connector(
            connector.name, **changes, verify=text_of(form, "do") != "unverified"
        )
    except ValetKeyError as error:
        failure, untried = failure_on_page(error), bool(error.checks)
        return await _page(visit, connector, typed, changes=changes, failure=failure, untried=untried)
    said = f"{connector.name} is updated. Brokers that reach Vault use the change within 5 seconds."
    return visit.redirect(f"/connectors/{segment(connector.name)}", said=said, warnings=made.warnings)


def said_of(connector: Connector) -> dict[str, str]:
    """Returns what is said of a connector, as the fields of the form hold it."""
    azure = connector.azure
    tolerance = connector.expires_skew_tolerance
    return {
        **{f"given.{name}": getattr(azure, name) for name in azure.__slots__},
        **{name: getattr(connector, name) for name in _PLAIN},
        "labels": "\n".join(f"{name}={value}" for name, value in sorted(connector.labels.items())),
        "expire_time": utc(connector.expire_time) if connector.expire_time else "",
        "expires_skew_tolerance": f"{int(tolerance.total_seconds())}s" if tolerance else "",
    }


def seen(connector: Connector) -> str:
    """Returns what tells whether a connector is still as a form showed it."""
    text = json.dumps([connector.uid, connector.credential_version, connector.auth_method, said_of(connector)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def changed(form: FormData, connector: Connector) -> dict[str, Any]:
    """Returns the arguments of `update_connector` for what differs. Raises FormValidationError."""
    before = said_of(connector)
    # What no field stood for is as it was.
    now = {name: text_of(form, name).replace("\r\n", "\n") if name in form else before[name] for name in before}
    # What cannot be seen was written out in the form, and is not to be stored like that.
    differing = {name: value for name, value in now.items() if value not in (before[name], visible(before[name]))}
    azure = {name.removeprefix("given."): value for name, value in differing.items() if name.startswith("given.")}
    problems, labels = FieldProblems(), connector.labels
    if "labels" in differing:
        labels = problems.read(pairs, lines(differing["labels"]), "labels") or {}
    ends = problems.read(moment, differing.get("expire_time", ""), "expire_time")
    tolerance = problems.read(duration, differing.get("expires_skew_tolerance", ""), "expires_skew_tolerance")
    problems.check()
    gone = [f"labels.{name}" for name in connector.labels if name not in labels]
    gone += [name for name, value in azure.items() if not value]
    gone += [name for name in (*_PLAIN, *_TIMES) if name in differing and not differing[name]]
    return {
        **{name: differing[name] for name in _PLAIN if differing.get(name)},
        "azure": {name: value for name, value in azure.items() if value},
        "labels": {name: value for name, value in labels.items() if connector.labels.get(name) != value},
        "expire_time": ends,
        "expires_skew_tolerance": tolerance,
        "remove": gone,
    }


def line(name: str, changes: Mapping[str, Any]) -> str:
    """Returns the command that makes the same changes."""
    words = ["valetkey", "service-connector", "update"]
    words += [word for field, value in (changes.get("azure") or {}).items() for word in (option(field), value)]
    words += [word for field in _PLAIN if changes.get(field) for word in (option(field), changes[field])]
    for key, value in (changes.get("labels") or {}).items():
        words += ["--label", f"{key}={value}"]
    if ends := changes.get("expire_time"):
        words += ["--expires-at", utc(ends)]
    if tolerance := changes.get("expires_skew_tolerance"):
        words += ["--expires-skew-tolerance", f"{int(tolerance.total_seconds())}s"]
    words += [word for field in changes.get("remove", ()) for word in ("--remove", _as_option(field))]
    return command(*words, *(() if len(words) > 3 else ("--description", "…")), of=name)  # noqa: PLR2004


def _as_option(field: str) -> str:
    group, dot, key = field.partition(".")
    return {"expire_time": "expires-at"}.get(group, group.replace("_", "-")) + dot + key


async def _page(
    visit: Visit,
    connector: Connector,
    typed: Mapping[str, str],
    *,
    changes: Mapping[str, Any] | None = None,
    **outcome: Any,
) -> Response:
    types = await visit.broker.list_connector_types()
    described = next((each for each in types if each.type == connector.type), None)
    template = "connectors/update_outcome.html" if visit.fragment else "connectors/update.html"
    known: dict[str, Any] = {"failure": None, "differing": [], "bound": None, "untried": False, **outcome}
    return visit.render(
        template,
        connector=connector,
        fields=_fields(connector, described),
        resource_types=described.resource_types if described else (),
        typed=typed,
        seen=typed.get("seen", seen(connector)),
        most=10,
        line=line(connector.name, changes or {}),
        **known,
    )


def _fields(connector: Connector, described: ConnectorTypeDescription | None) -> list[FieldDescription]:
    """Returns what can be changed of how and where it leads; how it logs in, a named secret says."""
    if described is None:
        return []
    own = [each for each in described.auth_methods if each.auth_method == connector.auth_method]
    method = own[0].fields if own and not connector.authentication_secret else ()
    found = {each.name: each for each in (*described.fields, *method) if not each.secret}
    return list(found.values())
