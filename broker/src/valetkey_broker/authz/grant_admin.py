"""The use cases of GrantService that change and show grants."""

import re
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from valetkey_broker.authz.grant_warnings import warnings_of
from valetkey_broker.errors import grant_changed, grant_not_found
from valetkey_broker.model import (
    BLOB_CONTAINER,
    CONSUMER_PERMISSIONS,
    RESOURCE_TYPES,
    Connector,
    ConsumerRole,
    ContainerPattern,
    Grant,
    GrantedConnector,
    InvalidFieldError,
    Pattern,
    Permission,
    PermissionSet,
    ResourceId,
    check_name,
    check_prefix,
    parse_source_ip,
    principal_pattern,
)
from valetkey_broker.model.descriptive_field_rules import check_labels
from valetkey_broker.model.errors import shown, shown_seconds
from valetkey_broker.ports import Clock
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

_MOST = 100
_MOST_ATTRIBUTES = 20
_MOST_NOTE = 500
_ATTRIBUTE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CONTAINER_PATTERN = re.compile(r"[a-z0-9*-]{1,63}")


Unreached = Callable[
    [Sequence[Connector], Sequence[ContainerPattern]], Awaitable[Sequence[tuple[ContainerPattern, str]]]
]
"""Returns the patterns that match nothing which the connectors reach now, each with what may have been meant."""


async def _none_unreached(
    _connectors: Sequence[Connector], _patterns: Sequence[ContainerPattern]
) -> Sequence[tuple[ContainerPattern, str]]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantDraft:
    """What an admin asks to store, not yet validated. `max_ttl` is in seconds.

    `connectors` are names with uids; an empty uid means the connector that has the name now.
    """

    name: str
    principals: Sequence[str]
    attributes: Mapping[str, str]
    connectors: Sequence[GrantedConnector]
    containers: Sequence[str]
    prefixes: Sequence[str]
    permissions: Sequence[Permission]
    consumer_role: ConsumerRole | None
    max_ttl: int | None
    source_ip: str
    expires_at: datetime | None
    note: str
    labels: Mapping[str, str] = field(default_factory=dict)
    version: int = 0


class GrantAdmin:
    """Validates grants and keeps them."""

    def __init__(
        self,
        repository: StateRepository,
        memory: Memory,
        clock: Clock,
        max_ttl: int,
        vouchers: Collection[str] = (),
        unreached: Unreached = _none_unreached,
    ) -> None:
        """`max_ttl` is in seconds; `vouchers` are whom the settings believe, `oidc:ISSUER` or `spiffe://TRUST-DOMAIN`."""
        self._unreached = unreached
        self._repository = repository
        self._memory = memory
        self._clock = clock
        self._max_ttl = max_ttl
        self._vouchers = vouchers

    async def create(self, draft: GrantDraft, *, created_by: str) -> Grant:
        """Stores a new grant. Raises InvalidFieldError or GRANT_EXISTS."""
        return await self._repository.create_grant(self._validated(draft, None, created_by))

    def get(self, name: str) -> Grant:
        """Returns a grant. Raises GRANT_NOT_FOUND."""
        grant = self._memory.grants.get(check_name("name", name))
        if grant is None:
            raise grant_not_found(name)
        return grant

    def all(self) -> Sequence[Grant]:
        """Returns all grants by name."""
        return [self._memory.grants[name] for name in sorted(self._memory.grants)]

    async def warnings(self, grant: Grant) -> Sequence[str]:
        """Returns what whoever made a grant should be told: that it gives more than it seems to, or nothing.

        May ask the cloud which containers there are, for a short time.
        """
        bound = (self._memory.connectors.get(granted.name) for granted in grant.connectors)
        uids = {granted.uid for granted in grant.connectors}
        connectors = [connector for connector in bound if connector is not None and connector.uid in uids]
        unreached = await self._unreached(connectors, grant.containers)
        return warnings_of(grant, connectors, self._vouchers, self._clock(), unreached)

    async def update(self, draft: GrantDraft) -> Grant:
        """Replaces a grant that still has the draft's version; identity and origin stay.

        Raises InvalidFieldError, GRANT_NOT_FOUND or CONFLICT.
        """
        if draft.version < 1:
            raise InvalidFieldError("version", "is not given", "the version that was read, so that no change is lost")
        before = self._memory.grants.get(check_name("name", draft.name))
        if before is None or before.version != draft.version:
            await self._repository.refresh()  # Memory may be behind by one poll.
            before = self.get(draft.name)
        if before.version != draft.version:
            raise grant_changed(draft.name, version=before.version, expected=draft.version)
        return await self._repository.update_grant(self._validated(draft, before, before.created_by))

    async def delete(self, name: str, *, deleted_by: str) -> None:
        """Deletes a grant. Raises GRANT_NOT_FOUND or CONFLICT."""
        await self._repository.delete_grant(check_name("name", name), deleted_by)

    def _validated(self, draft: GrantDraft, before: Grant | None, created_by: str) -> Grant:
        now = datetime.fromtimestamp(self._clock(), UTC)
        grant = Grant(
            name=check_name("name", draft.name),
            uid=str(uuid.uuid4()),
            principals=tuple(principal_pattern(text, "principals") for text in _unique("principals", draft.principals)),
            attributes=tuple(sorted(_attributes(draft.attributes), key=lambda item: item[0])),
            connectors=tuple(self._bound(draft.connectors, before)),
            containers=tuple(_container(text) for text in _unique("containers", draft.containers)),
            prefixes=tuple(_unique("prefixes", [check_prefix("prefixes", p) for p in draft.prefixes], least=0)),
            permissions=_permissions(draft),
            consumer_role=draft.consumer_role,
            max_ttl=self._ttl(draft.max_ttl),
            source_ip=parse_source_ip(draft.source_ip) if draft.source_ip else "",
            expires_at=draft.expires_at,
            note=draft.note,
            version=draft.version,
            created_at=now,
            created_by=created_by,
            labels=check_labels(draft.labels),
        )
        if len(grant.note) > _MOST_NOTE or not grant.note.isprintable():
            raise InvalidFieldError(
                "note", "is too long, or holds unprintable characters", f"at most {_MOST_NOTE} printable characters"
            )
        past = grant.expires_at is not None and grant.expires_at <= now
        if past and (before is None or before.expires_at != grant.expires_at):
            raise InvalidFieldError("expire_time", "is in the past", "a time in the future, or none")
        if before is None:
            return replace(grant, version=0)
        return replace(grant, uid=before.uid, created_at=before.created_at)

    def _bound(self, connectors: Sequence[GrantedConnector], before: Grant | None) -> Iterable[GrantedConnector]:
        """Binds names to the connectors that have them.

        A connector that was deleted and made anew is somebody else: an update that leaves its uid out does not hand
        the new one to those who were given the old one.
        """
        _unique("connectors", [connector.name for connector in connectors])
        earlier = {granted.name: granted.uid for granted in before.connectors} if before else {}
        for asked in connectors:
            known = self._memory.connectors.get(check_name("connectors", asked.name))
            if asked.uid == earlier.get(asked.name):
                yield asked
                continue
            if known is None or asked.uid not in ("", known.uid):
                raise InvalidFieldError(
                    "connectors", f"there is no connector {asked.name}", "names of connectors that exist"
                )
            if not asked.uid and earlier.get(asked.name, known.uid) != known.uid:
                raise InvalidFieldError(
                    "connectors",
                    f"{asked.name} is another connector than the one this grant was given for, which was deleted",
                    f"the uid {known.uid} beside the name if the new one is meant, or the grant without it",
                )
            yield GrantedConnector(known.name, known.uid)

    def _ttl(self, seconds: int | None) -> int | None:
        if seconds is not None and not 1 <= seconds <= self._max_ttl:
            raise InvalidFieldError(
                "max_ttl",
                f"is {shown_seconds(seconds)}",
                f"1s to {shown_seconds(self._max_ttl)}, the limit of this broker, or none",
            )
        return seconds


def _unique(field: str, values: Sequence[str], *, least: int = 1) -> Sequence[str]:
    if not least <= len(values) <= _MOST:
        raise InvalidFieldError(field, f"{len(values)} given", f"{least} to {_MOST}")
    if len(set(values)) != len(values):
        raise InvalidFieldError(field, "one is given twice", "each once")
    return values


def _container(text: str) -> ContainerPattern:
    pattern = ContainerPattern(text, "containers")
    if pattern.exact:
        if ResourceId.parse(text, "containers").key != text:
            raise InvalidFieldError("containers", f"{shown(text)} is not a container's name", "a name such as models")
    elif not _CONTAINER_PATTERN.fullmatch(text) and not _of_other_type(text):
        raise InvalidFieldError(
            "containers",
            f"{shown(text)} cannot match a container",
            "lower-case letters, digits, hyphens and *; $web, $logs and $root in full, without *",
        )
    return pattern


def _of_other_type(pattern: str) -> bool:
    """Tells whether a pattern names the scheme of a resource type other than containers, which need none."""
    scheme, separator, _ = pattern.partition("://")
    others = {each.scheme for each in RESOURCE_TYPES.values() if each.name != BLOB_CONTAINER}
    return bool(separator) and scheme in others


def _attributes(attributes: Mapping[str, str]) -> Iterable[tuple[str, Pattern]]:
    if len(attributes) > _MOST_ATTRIBUTES:
        raise InvalidFieldError("attributes", f"{len(attributes)} given", f"at most {_MOST_ATTRIBUTES}")
    for name, value in attributes.items():
        if not _ATTRIBUTE.fullmatch(name):
            raise InvalidFieldError(
                "attributes", f"{shown(name)} is not a name", "names of 1 to 64 letters, digits and _.-"
            )
        yield name, Pattern(value, "attributes")


def _permissions(draft: GrantDraft) -> PermissionSet:
    if draft.consumer_role is None:
        return PermissionSet(draft.permissions)
    ready_made = CONSUMER_PERMISSIONS[draft.consumer_role]
    if draft.permissions and PermissionSet(draft.permissions) != ready_made:
        raise InvalidFieldError(
            "permissions",
            f"are others than those of the role {draft.consumer_role.value}",
            "either permissions or a consumer_role",
        )
    return ready_made
