"""Giving a connector another credential: one that is given, one that the broker has made, or the one before."""

from typing import Any

from starlette.datastructures import FormData
from starlette.responses import Response

from valetkey import Connector, FailedPreconditionError, NotFoundError, ValetKeyError
from valetkey.connector_type_values import AuthMethodDescription
from valetkey.rotation_values import Rotation
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.fields.parsing import duration, moment
from valetkey_console.pages.answer_or_failure import told
from valetkey_console.pages.connectors.consequences import bound_to, differences
from valetkey_console.pages.connectors.credential_form import options, read_given, typed_text
from valetkey_console.pages.connectors.credential_maker_choices import makers_for
from valetkey_console.pages.connectors.draft import text_of
from valetkey_console.pages.field_problems import FieldProblems
from valetkey_console.visits.rendering import command, segment
from valetkey_console.visits.visit import Visit


async def show(visit: Visit) -> Response:
    """Shows the forms: by the auth method that it has, or by the one that the address says."""
    connector = await visit.broker.get_connector(visit.name())
    return await _page(visit, connector, {f"given.{name}": value for name, value in _there(connector).items()})


async def rotate(visit: Visit) -> Response:
    """Begins a rotation to what is given, and sends to where it can be watched."""
    connector = await visit.broker.get_connector(visit.name())
    form = await visit.form()
    typed = typed_text(form)
    try:
        method = _chosen(await _methods(visit, connector), text_of(form, "auth_method") or connector.auth_method)
        wanted = await _wanted(form, connector, method)
        differing = differences(connector, wanted)
        if differing and "confirmed" not in form:
            bound = await bound_to(visit, connector)
            if bound.grants or bound.grants is None:
                return await _page(visit, connector, typed, wanted=wanted, differing=differing, bound=bound)
        await visit.broker.rotate_credential(connector.name, **wanted)
    except ValetKeyError as error:
        failure = failure_on_page(error)
        return await _page(visit, connector, typed, failure=failure)
    return _follow(visit, connector.name)


async def show_by_itself(visit: Visit) -> Response:
    """Shows the form for a credential that the broker has made."""
    return await _page_by_itself(visit, await visit.broker.get_connector(visit.name()), {})


async def rotate_by_itself(visit: Visit) -> Response:
    """Begins a rotation to a credential that the broker has made."""
    connector = await visit.broker.get_connector(visit.name())
    form = await visit.form()
    typed = typed_text(form)
    try:
        await visit.broker.rotate_by_itself(
            connector.name,
            by=text_of(form, "by"),
            at_once="at_once" in form,
            prove_for=duration(text_of(form, "prove_for"), "prove_for"),
        )
    except ValetKeyError as error:
        return await _page_by_itself(visit, connector, typed, failure_on_page(error))
    return _follow(visit, connector.name)


async def show_rollback(visit: Visit) -> Response:
    """Shows what a rollback would bring back."""
    name = visit.name()
    connector = await visit.broker.get_connector(name)
    versions = await visit.broker.list_credential_versions(name)
    kept = next((each for each in versions if not each.in_use), None)
    last = await _last(visit, name)
    # It would bring back what somebody rolled away from.
    undoing = last is not None and kept is not None and (last.source, last.state) == ("rollback", "done")
    undoing = undoing and last is not None and kept is not None and last.from_version == kept.version
    line = command("valetkey", "service-connector", "rollback", of=name)
    return visit.render(
        "connectors/rollback.html", connector=connector, kept=kept, last=last if undoing else None, line=line
    )


async def rollback(visit: Visit) -> Response:
    """Begins a rotation back to the version that the form names."""
    name, version = visit.name(), text_of(await visit.form(), "version")
    if not version.isascii() or not version.isdecimal() or len(version) > 9:  # noqa: PLR2004 (of an int32)
        raise NotFoundError("there is no such version of its credential; expected one that is stored")
    await visit.broker.rollback_credential(name, version=int(version))
    return _follow(visit, name)


async def abort(visit: Visit) -> Response:
    """Has the rotation taken back that is under way."""
    await visit.broker.abort_rotation(visit.name())
    return _follow(visit, visit.name())


def _follow(visit: Visit, name: str) -> Response:
    return visit.redirect(f"/connectors/{segment(name)}/rotation")


async def _last(visit: Visit, name: str) -> Rotation | None:
    """Returns the rotation that is under way, or the last one; None where that cannot be told just now, too."""
    return (await told(visit.broker.get_rotation(name))).value


def _there(connector: Connector) -> dict[str, str]:
    azure = connector.azure
    return {
        "tenant_id": azure.tenant_id,
        "client_id": azure.client_id,
        "storage_account": azure.storage_account,
        "implicit_source": azure.implicit_source,
    }


async def _methods(visit: Visit, connector: Connector) -> tuple[AuthMethodDescription, ...]:
    types = await visit.broker.list_connector_types()
    return next((each.auth_methods for each in types if each.type == connector.type), ())


def _chosen(methods: tuple[AuthMethodDescription, ...], wanted: str) -> AuthMethodDescription:
    for method in methods:
        if method.auth_method == wanted:
            return method
    known = ", ".join(each.auth_method for each in methods)
    raise NotFoundError(f"the broker has no auth method {wanted[:50]!r}; expected one of {known}")


async def _wanted(form: FormData, connector: Connector, method: AuthMethodDescription) -> dict[str, Any]:
    """Returns the arguments of `rotate_credential`. Raises FormValidationError."""
    problems = FieldProblems()
    given = await read_given(form, method.fields, problems)
    ends = problems.read(moment, text_of(form, "expire_time"), "expire_time")
    prove_for = problems.read(duration, text_of(form, "prove_for"), "prove_for")
    problems.check()
    there = _there(connector)
    other = method.auth_method != connector.auth_method
    emptied = [each.name for each in method.fields if f"given.{each.name}" in form and each.name not in given.config]
    return {
        "auth_method": method.auth_method if other else None,
        "azure": {name: value for name, value in given.config.items() if there.get(name, "") != value},
        "secrets": given.secrets,
        "remove": [name for name in emptied if there.get(name)],
        "expire_time": ends,
        "prove_for": prove_for,
    }


def _check_its_own(connector: Connector) -> None:
    """Raises FailedPreconditionError where the credential is that of a named secret, with what rotates that."""
    if connector.authentication_secret:
        raise FailedPreconditionError(
            f"connector {connector.name} uses the named secret {connector.authentication_secret}; rotate that, and all "
            f"connectors that use it follow: valetkey secret rotate {connector.authentication_secret}"
        )


async def _page_by_itself(
    visit: Visit, connector: Connector, typed: dict[str, str], failure: Failure | None = None
) -> Response:
    _check_its_own(connector)
    return visit.render(
        "connectors/rotate_by_itself.html",
        connector=connector,
        typed=typed,
        failure=failure,
        makers=await makers_for(visit, connector),
        rotation=await _last(visit, connector.name),
        line=command("valetkey", "service-connector", "rotate", "--auto", of=connector.name),
    )


async def _page(visit: Visit, connector: Connector, typed: dict[str, str], **outcome: Any) -> Response:
    _check_its_own(connector)
    methods = await _methods(visit, connector)
    asked = typed.get("auth_method") or visit.query.get("auth_method") or connector.auth_method
    method = next((each for each in methods if each.auth_method == asked), None) or _chosen(
        methods, connector.auth_method
    )
    wanted = outcome.pop("wanted", {})
    words = ["valetkey", "service-connector", "rotate"]
    words += ["--auth-method", method.auth_method] if method.auth_method != connector.auth_method else []
    secrets = [each.name for each in method.fields if each.secret]
    words += options(wanted.get("azure", {}), wanted.get("secrets") or secrets[:1])
    template = "connectors/rotate_outcome.html" if visit.fragment else "connectors/rotate.html"
    known: dict[str, Any] = {"failure": None, "differing": [], "bound": None, **outcome}
    if not visit.fragment:
        known["rotation"] = await _last(visit, connector.name)
    return visit.render(
        template,
        connector=connector,
        methods=methods,
        method=method,
        typed=typed,
        by_itself=any(each.secret for each in method.fields),
        line=command(*words, of=connector.name),
        most=10,
        **known,
    )
