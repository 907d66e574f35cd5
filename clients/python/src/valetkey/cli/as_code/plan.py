"""The difference between what files say and what there is: what has to be done, field by field, before anything is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from valetkey.cli.as_code.connector_differences import Change, differences, pairs, span, time_text
from valetkey.cli.as_code.desired_state import OWNER, ConnectorDocument, Documents, GrantDocument
from valetkey.cli.auth_methods import METHODS
from valetkey.errors import InvalidArgumentError
from valetkey.values import Connector, Grant, GrantedConnector, GrantSpec

_TO_COME = "<new>"


class Verb(StrEnum):
    """What is done to an object."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to be done. `arguments` are those of the client's call; a secret is a reference until then."""

    verb: Verb
    kind: str
    name: str
    changes: Sequence[Change] = ()
    document: ConnectorDocument | GrantDocument | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    version: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in the order in which it is; and how many objects are as they shall be."""

    actions: Sequence[Action]
    unchanged: int


def make_plan(
    documents: Documents,
    connectors: Iterable[Connector],
    grants: Iterable[Grant],
    *,
    owner: str = "",
    prune: bool = False,
) -> Plan:
    """Returns the plan. Raises InvalidArgumentError where an object belongs to another owner."""
    there = {connector.name: connector for connector in connectors}
    given = {grant.name: grant for grant in grants}
    uids = {name: connector.uid for name, connector in there.items()}
    planned = [_connector(document, there.get(document.name), owner) for document in documents.connectors.values()]
    planned += [
        _grant(document, given.get(document.name), uids, documents, owner) for document in documents.grants.values()
    ]
    actions = [action for action in planned if action is not None]
    unchanged = len(planned) - len(actions)
    if prune:
        # Grants first: a connector takes along what is bound to it.
        actions += _gone("grant", given, documents.grants, owner)
        actions += _gone("connector", there, documents.connectors, owner)
    return Plan(actions, unchanged)


def _gone(kind: str, there: Mapping[str, Connector | Grant], wanted: Mapping[str, Any], owner: str) -> list[Action]:
    return [
        Action(verb=Verb.DELETE, kind=kind, name=name, version=getattr(each, "version", 0))
        for name, each in sorted(there.items())
        if name not in wanted and each.labels.get(OWNER) == owner
    ]


def _connector(document: ConnectorDocument, there: Connector | None, owner: str) -> Action | None:
    labels = _owned(document.labels, there.labels if there else {}, owner, f"service connector {document.name}")
    if there is None:
        needed = METHODS[document.auth_method].secrets if document.auth_method else ()
        if needed and not any(key in document.secrets for key in needed):
            raise InvalidArgumentError(
                f"{document.place}: service connector {document.name} is not there, and to make it takes "
                f"{' or '.join(needed)}; expected @FILE or $NAME"
            )
        told = {
            "auth_method": document.auth_method.value if document.auth_method else "",
            "authentication_secret": document.authentication_secret,
            **document.config,
            "resource_type": document.resource_type,
            "resource_id": document.resource_id,
            **{key: reference.text for key, reference in document.secrets.items()},
            "description": document.description,
            "labels": pairs(labels),
            "expires_at": time_text(document.expire_time),
        }
        return Action(
            verb=Verb.CREATE,
            kind="connector",
            name=document.name,
            document=document,
            changes=[Change(key, "", text) for key, text in told.items() if text],
            arguments={"labels": labels},
        )
    differing, arguments, remove = differences(document, there, labels)
    if not differing:
        return None
    return Action(
        verb=Verb.UPDATE,
        kind="connector",
        name=document.name,
        document=document,
        changes=differing,
        arguments={**arguments, "remove": tuple(remove)},
    )


def _grant(
    document: GrantDocument, there: Grant | None, uids: Mapping[str, str], documents: Documents, owner: str
) -> Action | None:
    for name in document.spec.connectors:
        if name not in uids and name not in documents.connectors:
            raise InvalidArgumentError(
                f"{document.place}: the grant {document.name} is for the connector {name}, which is neither there "
                "nor in the files"
            )
    labels = _owned(document.spec.labels, there.labels if there else {}, owner, f"grant {document.name}")
    bound = [GrantedConnector(str(name), uids.get(str(name), "")) for name in document.spec.connectors]
    spec = replace(document.spec, labels=labels, connectors=bound)
    told = _grant_texts(spec)
    if there is None:
        changes = [Change(key, "", text) for key, text in told.items() if text]
        return Action(
            verb=Verb.CREATE, kind="grant", name=document.name, document=document, changes=changes,
            arguments={"spec": spec},
        )  # fmt: skip
    before = _grant_texts(there.spec)
    changes = [Change(key, before[key], told[key]) for key in told if before[key] != told[key]]
    if not changes:
        return None
    return Action(
        verb=Verb.UPDATE,
        kind="grant",
        name=document.name,
        document=document,
        changes=changes,
        arguments={"spec": spec},
        version=there.version,
    )


def _grant_texts(spec: GrantSpec) -> dict[str, str]:
    """Returns what a grant says, field by field, such that equal grants have equal texts."""
    connectors = [each if isinstance(each, GrantedConnector) else GrantedConnector(each) for each in spec.connectors]
    return {
        "principals": ", ".join(sorted(spec.principals)),
        "attributes": pairs(spec.attributes),
        # With the id: a connector that was made anew under an old name is another one, and that is to be seen.
        "connectors": ", ".join(sorted(f"{each.name} ({each.uid or _TO_COME})" for each in connectors)),
        "containers": ", ".join(sorted(spec.containers)),
        "prefixes": ", ".join(sorted(spec.prefixes)),
        "permissions": ", ".join(sorted(spec.permissions)),
        "role": spec.consumer_role,
        "max_ttl": span(spec.max_ttl) if spec.max_ttl else "",
        "source_ip": spec.source_ip,
        "expires_at": time_text(spec.expire_time),
        "note": spec.note,
        "labels": pairs(spec.labels),
    }


def _owned(wanted: Mapping[str, str], there: Mapping[str, str], owner: str, what: str) -> dict[str, str]:
    """Returns the labels with that of the owner. Raises InvalidArgumentError where somebody else owns it."""
    before = there.get(OWNER, "")
    if owner and before and before != owner:
        raise InvalidArgumentError(
            f"{what} is applied by the owner {before}, not by {owner}; take it out of one of the two, and remove its "
            f"label {OWNER} if it is to move"
        )
    owned = owner or before
    return {**wanted, OWNER: owned} if owned else dict(wanted)
