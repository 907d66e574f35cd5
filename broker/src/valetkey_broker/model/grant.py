"""Grants: which principals may have which resources."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from valetkey_broker.model.pattern import ContainerPattern, Pattern
from valetkey_broker.model.permission import Permission, PermissionSet


class ConsumerRole(Enum):
    """Ready-made permissions of the consumers in a machine-learning stack."""

    ORCHESTRATOR = "orchestrator"
    STEP_OPERATOR = "step-operator"
    DEPLOYER = "deployer"
    ORCHESTRATOR_WITH_DELETE = "orchestrator-with-delete"
    STEP_OPERATOR_WITH_DELETE = "step-operator-with-delete"


# Write is what uploads take: clients send blocks, which Azure refuses to create and add alone. Those two are for tools
# that ask for them besides.
_WRITES = (Permission.READ, Permission.LIST, Permission.WRITE, Permission.CREATE, Permission.ADD)
_WRITER = PermissionSet(_WRITES)
# ZenML takes away what a failed step wrote; a choice of its own, for a token that deletes can take results along.
_DELETING_WRITER = PermissionSet((*_WRITES, Permission.DELETE))

CONSUMER_PERMISSIONS: Mapping[ConsumerRole, PermissionSet] = {
    # Keeps the artifacts of pipelines. Not delete: a pipeline gone wrong must not take results along.
    ConsumerRole.ORCHESTRATOR: _WRITER,
    # Runs one step elsewhere: the same, on the containers it is given.
    ConsumerRole.STEP_OPERATOR: _WRITER,
    # Loads results to serve them, and has no business changing them.
    ConsumerRole.DEPLOYER: PermissionSet((Permission.READ, Permission.LIST)),
    ConsumerRole.ORCHESTRATOR_WITH_DELETE: _DELETING_WRITER,
    ConsumerRole.STEP_OPERATOR_WITH_DELETE: _DELETING_WRITER,
}


@dataclass(frozen=True, slots=True)
class GrantedConnector:
    """A connector as a grant knows it; `uid` binds, so that a later connector of the same name is not meant."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may have what. Values have been validated. `max_ttl` is in seconds, None for the broker's own limit.

    `version` is that of the document in Vault, for check-and-set. Empty `prefixes` stand for whole containers.
    """

    name: str
    uid: str
    principals: tuple[Pattern, ...]
    attributes: tuple[tuple[str, Pattern], ...]
    connectors: tuple[GrantedConnector, ...]
    containers: tuple[ContainerPattern, ...]
    prefixes: tuple[str, ...]
    permissions: PermissionSet
    consumer_role: ConsumerRole | None
    max_ttl: int | None
    source_ip: str
    expires_at: datetime | None
    note: str
    version: int
    created_at: datetime
    created_by: str
    labels: tuple[tuple[str, str], ...] = ()
