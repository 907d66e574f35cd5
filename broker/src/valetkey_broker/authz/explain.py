"""Says why a request would be allowed or not, by the same rules that decide it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from valetkey_broker.authz.compiled_grants import CompiledGrant
from valetkey_broker.authz.nearest_allowed import Nearby, Nearest, Question, has_ended
from valetkey_broker.authz.policy import Allowance, Policy, asked_ttl, serves
from valetkey_broker.authz.revocation_rules import covering, facts, refused
from valetkey_broker.authz.scope_rules import check_scope, hangs_on_account
from valetkey_broker.errors import BrokerError, Reason, resource_ambiguous, role_required
from valetkey_broker.model import (
    RESOURCE_TYPES,
    Connector,
    Container,
    Grant,
    Principal,
    ResourceId,
    Role,
)
from valetkey_broker.model.errors import shown
from valetkey_broker.model.revocation import Revocation
from valetkey_broker.ports import Clock
from valetkey_broker.settings import IssuingSettings

_MAY_ASK_FOR_OTHERS = frozenset({Role.ADMIN, Role.OPERATOR, Role.AUDITOR})
_MOST_FINDINGS = 100
_NAMED = 10
# How far away from allowing something a reason is; another principal's grant is farthest.
_OTHERS, _ATTRIBUTES, _ELSEWHERE, _LESS = 100, 20, 10, 1


@dataclass(frozen=True, slots=True)
class Finding:
    """What one grant has to say to a question; without reasons it allows it."""

    grant: str
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer; `allowance` is what would be given, None for nothing. Findings are the nearest first.

    `error` says what keeps a request from being allowed that is no grant's matter, in the words the caller would hear.
    `scope` says what the token would be for, and on what that still hangs. `caller_problem` says why nobody can call as
    that principal now, whatever is granted.
    """

    allowance: Allowance | None
    error: str
    findings: Sequence[Finding]
    nearest: Nearest | None
    scope: str
    caller_problem: str = ""


class Explainer:
    """Answers "why?" by the decision itself. Asks nobody: neither Azure nor Vault."""

    def __init__(
        self,
        policy: Policy,
        clock: Clock,
        settings: IssuingSettings,
        hierarchical: Callable[[Connector, str], bool | None] = lambda _connector, _account: None,
        known: Callable[[Connector, str, str], Sequence[Container]] = lambda _connector, _name, _account: (),
        missing_key: Callable[[str], str] = lambda _principal: "",
    ) -> None:
        """`hierarchical` tells of a connector's account, from memory, whether it has a hierarchical namespace.

        None is for "not known". `known` gives a connector's containers of a name, in an account if one is named, as far
        as memory knows them. `missing_key` says why nobody can call by a principal's key; empty where somebody can.
        """
        self._known = known
        self._missing_key = missing_key
        self._nearby = Nearby(policy, hierarchical, self._covering)
        self._policy = policy
        self._clock = clock
        self._default_ttl = settings.default_ttl_seconds
        self._max_ttl = settings.max_ttl_seconds

    def explain(self, asker: Principal, question: Question) -> Explanation:
        """Answers for the asker itself, or for others where a role lets it.

        Raises ROLE_REQUIRED, and InvalidFieldError for a ttl that would be refused.

        Without such a role only the grants that mean the asker are considered: what others may is not its business.
        """
        for_all = asker.has_any(_MAY_ASK_FOR_OTHERS)
        if not for_all and question.principal != asker:
            needs = " or ".join(sorted(role.value for role in _MAY_ASK_FOR_OTHERS))
            raise role_required(
                f"{asker.name} may explain its own access only; for others it needs the role {needs}",
                method="/valetkey.v1.GrantService/ExplainAccess",
                needs=needs,
            )
        now = self._clock()
        grants = self._policy.index.all() if for_all else self._policy.index.naming(question.principal.name)
        found: list[tuple[int, str, CompiledGrant, Finding]] = []
        for grant in grants:
            # What somebody could have with other attributes is the business of those only who may ask for all.
            if not for_all and grant.lacking(question.principal.attributes):
                continue
            distance, reasons = self._reasons(grant, question, now, for_all=for_all)
            if distance < _OTHERS or self._is_about(grant, question):
                found.append((distance, grant.name, grant, Finding(grant.name, reasons)))
        found.sort(key=lambda entry: entry[:2])
        allowance, error = self._decided(question)
        nearest = None
        if allowance is None:
            near = (self._nearby.of(grant, question, now) for d, _, grant, _ in found if d < _OTHERS)
            nearest = next((thing for thing in near if thing is not None), None)
        findings = [finding for _, _, _, finding in found[:_MOST_FINDINGS]]
        scope = ""
        if allowance is not None:
            scope = self._scope(question, allowance.connector) + self._taken_back_in(question, allowance)
        caller_problem = self._missing_key(question.principal.name) if for_all else ""
        return Explanation(allowance, error, findings, nearest, scope, caller_problem)

    def _decided(self, question: Question) -> tuple[Allowance | None, str]:
        try:
            allowed = self._policy.decide(
                question.principal,
                question.resource,
                question.permissions,
                ttl=asked_ttl(question.ttl, self._default_ttl, self._max_ttl),
                connector=question.connector,
                source_ip=question.source_ip,
            )
        except BrokerError as error:
            # Of grants the findings say more.
            return None, "" if error.reason is Reason.RESOURCE_DENIED else error.message
        known = {container for each in allowed if (container := self._own_container(each.connector)) is not None}
        if len(known) > 1:
            return None, resource_ambiguous(question.resource, known).message
        best = min(allowed, key=lambda a: (-a.ttl, a.grant.name))
        try:
            account, hierarchical = self._nearby.namespace(question.resource, best.connector)
            check_scope(question.resource, question.permissions, account, hierarchical=hierarchical)
        except BrokerError as error:
            return None, error.message
        taken_back = self._revoked(question, best)
        return (None, taken_back) if taken_back else (best, "")

    def _revoked(self, question: Question, best: Allowance) -> str:
        """Returns why a token is refused though a grant allows it: what was taken back in the account it is in."""
        revocation = self._covering(question.principal, best.grant, best.connector, question.resource)
        return refused(question.resource, revocation).message if revocation is not None else ""

    def _covering(
        self, principal: Principal, grant: Grant, connector: Connector, resource: ResourceId
    ) -> Revocation | None:
        """Returns a revocation that covers a token in every account it may be in; None where one of them is free."""
        in_force = self._policy.in_force
        if not in_force:
            return None
        accounts = {container.account for container in self._located(connector, resource)}
        found = [
            covering(in_force, facts(principal, grant, connector, resource, account))
            for account in sorted(accounts) or [""]
        ]
        return found[0] if all(found) else None

    def _located(self, connector: Connector, resource: ResourceId) -> Sequence[Container]:
        return self._known(connector.serving(resource.type), resource.container, resource.account or "")

    def _taken_back_in(self, question: Question, best: Allowance) -> str:
        """Returns in which accounts it would be refused, where nobody knows yet in which one the container is."""
        in_force = self._policy.in_force
        where, _ = self._nearby.namespace(question.resource, best.connector)
        if not in_force or where or self._located(best.connector, question.resource):
            return ""
        said = []
        for revocation in in_force:
            resource = revocation.target.resource
            named = resource.account if resource is not None else None
            token = facts(question.principal, best.grant, best.connector, question.resource, named or "")
            if named and revocation.target.covers(token):
                said.append(f"in the account {named} it is refused: access was revoked by {revocation.created_by}")
        return "".join(f"; {each}" for each in said[:_NAMED])

    def _scope(self, question: Question, connector: Connector) -> str:
        resource = question.resource
        if not resource.prefix:
            return f"the {RESOURCE_TYPES[resource.type].noun} {resource}"
        if not hangs_on_account(resource, question.permissions):
            return f"the blob {resource}, and nothing else"
        what = f"the directory {resource} and all below it" if resource.directory else f"the blob {resource}"
        account, hierarchical = self._nearby.namespace(resource, connector)
        known = f", which {account} is" if hierarchical else "; whether it is, nobody has asked yet"
        return f"{what}, if its account has a hierarchical namespace{known}"

    def _own_container(self, connector: Connector) -> Container | None:
        own = connector.resource
        if own is None or own.account is None:
            return None
        url = f"{self._policy.endpoint(connector, own.account, own.type)}/{own.container}"
        return Container(own.account, own.container, url, own.type)

    def _is_about(self, grant: CompiledGrant, question: Question) -> bool:
        """Tells whether a grant of others is worth showing: it is about this container."""
        return grant.admits_container(question.resource.key)

    def _reasons(
        self, grant: CompiledGrant, question: Question, now: float, *, for_all: bool
    ) -> tuple[int, Sequence[str]]:
        distance = 0
        reasons: list[str] = []
        principal, resource = question.principal, question.resource
        if not grant.names(principal.name):
            distance += _OTHERS
            reasons.append(f"it does not name {principal.name}")
        for index, (name, pattern) in enumerate(grant.lacking(principal.attributes)):
            distance += _LESS if index else _ATTRIBUTES
            value = principal.attributes.get(name)
            has = f"it is {shown(value)}" if value is not None else "there is none"
            reasons.append(f"it needs the attribute {name} to be {pattern.text}; {has}")
        if error := self._connector_error(grant, question, for_all=for_all):
            distance += _ELSEWHERE
            reasons.append(error)
        if not grant.admits_container(resource.key):
            distance += _ELSEWHERE
            containers = _some([pattern.text for pattern in grant.grant.containers])
            reasons.append(f"it is for the containers {containers}, not {resource.key}")
        if not grant.admits_prefix(resource.prefix):
            distance += _ELSEWHERE
            reasons.append(f"it is for the paths {_some(grant.grant.prefixes)} only")
        if not grant.admits_address(question.source_ip):
            distance += _LESS
            reasons.append(f"it is for the addresses {grant.grant.source_ip}, not {question.source_ip}")
        if missing := grant.missing(question.permissions):
            distance += _LESS * len(missing)
            reasons.append("it does not include " + ", ".join(permission.name.lower() for permission in missing))
        if has_ended(grant, now):
            distance += _ELSEWHERE
            reasons.append(f"it ended at {datetime.fromtimestamp(grant.expires, UTC).isoformat(timespec='seconds')}")
        return distance, reasons

    def _connector_error(self, grant: CompiledGrant, question: Question, *, for_all: bool) -> str:
        wanted = question.connector
        if wanted and all(granted.name != wanted for granted in grant.grant.connectors):
            return f"it is for the connectors {_some([g.name for g in grant.grant.connectors])}, not {wanted}"
        live = [c for c in self._policy.live_connectors(grant) if wanted in ("", c.name)]
        if not live:
            names = wanted or _some([granted.name for granted in grant.grant.connectors])
            return f"the connector {names} it was given for is gone; a later one of that name is not meant"
        if not any(serves(connector, question.resource) for connector in live):
            # A connector may serve what the grant does not give; then its container and account are not the asker's
            # business.
            if for_all or all(c.resource is None or grant.admits_container(c.resource.key) for c in live):
                return f"its connectors serve {_some([_served(c, question.resource) for c in live])} only"
            return "none of its connectors serves it"
        return self._host_error([c for c in live if serves(c, question.resource)], grant, question, for_all=for_all)

    def _host_error(
        self, serving: Sequence[Connector], grant: CompiledGrant, question: Question, *, for_all: bool
    ) -> str:
        resource = question.resource
        if any(self._policy.is_at(connector, resource) for connector in serving):
            return ""
        if not for_all and not grant.admits_container(resource.key):
            return "none of its connectors serves it"
        hosts = sorted(
            {self._policy.endpoint(connector, resource.account or "", resource.type) for connector in serving} - {""}
        )
        if resource.endpoint is None or not hosts:
            clouds = _some(sorted({connector.azure.cloud for connector in serving}))
            return f"the broker's settings have no cloud {clouds}, in which its connectors are"
        return f"its connectors are in clouds where that is {_some(hosts)}, not {resource.endpoint}"


def _served(connector: Connector, asked: ResourceId) -> str:
    own = connector.resource
    if own is None and asked.type not in connector.resource_types:
        return f"resources of the type {connector.resource_type}"
    if own is None:
        return f"the account {connector.azure.storage_account}"
    return f"{own} of the account {own.account}" if own.account else str(own)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
