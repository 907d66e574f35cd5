"""Explain: whether somebody may have something, by which grant, or why not and what would work."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from urllib.parse import urlencode

from starlette.responses import Response

from valetkey import AccessExplanation, ValetKeyError
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.fields.parsing import MOST_TEXT, duration, lines, pairs
from valetkey_console.pages.field_problems import FieldProblems
from valetkey_console.pages.permission_choices import PERMISSION_CHOICES, words_of
from valetkey_console.visits.rendering import by_option, command
from valetkey_console.visits.roles import ADMINS, READERS_OF_GRANTS
from valetkey_console.visits.routing import Section, get
from valetkey_console.visits.visit import Visit

_LIMITS = {
    "grant-max-ttl": "the grant's maximum",
    "grant-end": "the grant expires then",
    "identity-end": "the principal's identity expires then",
    "key-end": "the signing key expires then",
}
_MOST_SHOWN = 20
_TEXTS = ("resource", "principal", "connector", "attributes", "ttl", "source_ip")


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, as it was typed; the address of the page says it."""

    resource: str = ""
    principal: str = ""
    permissions: Sequence[str] = ("read", "list")
    connector: str = ""
    attributes: str = ""
    ttl: str = ""
    source_ip: str = ""

    @property
    def line(self) -> str:
        """The same by command."""
        words = ["valetkey", "grant", "explain", "--resource", self.resource or "az://CONTAINER"]
        words += ["--permissions", ",".join(self.permissions) or "LIST"]
        words += by_option(asdict(self), "principal", "connector", "ttl", "source_ip")
        for each in lines(self.attributes):
            words += ["--attribute", each]
        return command(*words)

    @property
    def token_line(self) -> str:
        """The command by which the person who is logged in gets what was asked about."""
        words = ["valetkey", "token", "issue", "--resource", self.resource, "--permissions", ",".join(self.permissions)]
        return command(*words, *by_option(asdict(self), "connector", "ttl", "source_ip"))

    @property
    def grant_path(self) -> str:
        """The path of the form for a grant that would allow it."""
        said = {**{name: getattr(self, name) for name in _TEXTS}, "permissions": ",".join(self.permissions)}
        return f"/new-grant?{urlencode({name: text for name, text in said.items() if text})}"


async def show(visit: Visit) -> Response:
    """Shows the question and, where it is complete, its answer."""
    question = _question(visit)
    answer: AccessExplanation | None = None
    failure: Failure | None = None
    if question.resource or visit.query.get("sent"):
        try:
            attributes, ttl = _checked(question)
            answer = await visit.broker.explain_access(
                question.resource,
                question.permissions,
                principal=question.principal or None,
                attributes=attributes,
                connector=question.connector or None,
                ttl=ttl,
                source_ip=question.source_ip or None,
            )
        except ValetKeyError as error:
            failure = failure_on_page(error, reading=True)
    return visit.render(
        "explain/explain.html",
        question=question,
        answer=answer,
        failure=failure,
        limited=_LIMITS.get(answer.ttl_limited_by, answer.ttl_limited_by) if answer else "",
        permissions=PERMISSION_CHOICES,
        of_oneself=question.principal in ("", visit.person.principal) and not question.attributes,
        for_others=visit.may(READERS_OF_GRANTS),
        may_grant=visit.may(ADMINS),
        grant_path=replace(question, principal=question.principal or visit.person.principal).grant_path,
        shown=_MOST_SHOWN,
    )


def _checked(question: Question) -> tuple[Mapping[str, str], timedelta | None]:
    """Returns the attributes and the lifetime that are asked about. Raises FormValidationError."""
    problems = FieldProblems()
    problems.require(question.resource, "resource_id", "one such as az://models")
    problems.require(question.permissions, "permissions", "at least one", "none is selected")
    attributes = problems.read(pairs, lines(question.attributes), "attributes") or {}
    ttl = problems.read(duration, question.ttl, "ttl")
    problems.check()
    return attributes, ttl


def _question(visit: Visit) -> Question:
    given: Mapping[str, str] = {name: visit.query.get(name, "").strip()[:MOST_TEXT] for name in _TEXTS}
    words = words_of(visit.request.query_params.getlist("permissions"))
    # Nothing ticked is said only by a form that was sent.
    return Question(**given, permissions=words) if words or visit.query.get("sent") else Question(**given)


SECTION = Section("explain", (get("/explain", show),), title="Explain", path="/explain", order=45)
