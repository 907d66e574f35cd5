"""The use cases of RevocationService, up to the keys: what happens to those is key_revocations.py's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from valetkey_broker.errors import (
    connector_not_found,
    grant_not_found,
    revocation_lifted,
    revocation_not_found,
    revoked_already,
)
from valetkey_broker.model import (
    EventFilter,
    EventKind,
    InvalidFieldError,
    ResourceId,
    Rotation,
    check_name,
    rotation_path,
)
from valetkey_broker.model.errors import shown
from valetkey_broker.model.revocation import (
    KeyRevocation,
    Revocation,
    RevocationState,
    RevocationTarget,
    SignerKind,
)
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.revoking.impact import Hit, Impact, token_facts
from valetkey_broker.revoking.key_rotations import KeyRotations, rotated_keys
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

_MOST_REASON = 200
_MOST_PRINCIPAL = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an operator wants revoked, not yet validated."""

    lease_id: str = ""
    principal: str = ""
    grant: str = ""
    connector: str = ""
    resource_id: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a revocation would do. `in_force` are the ids of those that cover the same already."""

    target: RevocationTarget
    hit: Hit
    in_force: Sequence[str]


@dataclass(frozen=True, slots=True)
class Shown:
    """A revocation and how far it is now; the last token that it covers ends by itself at `until` (Unix seconds)."""

    revocation: Revocation
    state: RevocationState
    until: int


class Revoker:
    """Refuses what is to come at once; waits for what is out, or has its keys revoked."""

    def __init__(
        self,
        repository: StateRepository,
        memory: Memory,
        ledger: Ledger,
        impact: Impact,
        rotations: KeyRotations,
        clock: Clock,
    ) -> None:
        self._rotations = rotations
        self._repository = repository
        self._memory = memory
        self._ledger = ledger
        self._impact = impact
        self._clock = clock

    async def preview(self, asked: Asked, through: str = "") -> Preview:
        """Says what revoking would do, with `hard` by way of the connector `through`, if one is named.

        Raises InvalidFieldError, CONNECTOR_NOT_FOUND, GRANT_NOT_FOUND, LEDGER_UNAVAILABLE or VAULT_UNAVAILABLE.
        """
        target = await self._target(asked)
        hit = await self._matching(target, self._known(through))
        return Preview(target, hit, [each.name for each in self._memory.in_force if each.target == target])

    async def create(self, name: str, asked: Asked, *, reason: str, hard: bool, through: str, created_by: str) -> Shown:
        """Revokes. Whoever repeats it with the same name is told of the one there is.

        Raises what `preview` does, CONFLICT where somebody else revoked the same, InvalidFieldError where `hard` cannot
        be, and where an account's key is to be rotated and Azure does not show it, what the cloud raises.
        """
        check_name("name", name)
        if len(reason) > _MOST_REASON or not reason.isprintable():
            raise InvalidFieldError(
                "reason", "is too long, or holds unprintable characters", f"at most {_MOST_REASON} printable ones"
            )
        if through and not hard:
            raise InvalidFieldError("through", "is of use with hard only", "it left out, or hard")
        self._known(through)
        known = self._memory.revocations.get(name)
        # Who repeats it may do so when the lease has ended meanwhile.
        same_lease = known is not None and known.in_force and bool(asked.lease_id)
        if known is not None and same_lease and known.target.lease_id == asked.lease_id and known.hard == hard:
            return await self._now(known)
        target = await self._target(asked)
        if known is None:
            self._check_others(target, hard=hard)
        # Further tokens are refused at once: what signed those that are out counts only where that is to be ended.
        hit = await self._matching(target, through, every_signer=hard)
        keys, checked = self._keys(hit, through) if hard else (), set[tuple[str, str, str]]()
        while new := [each for each in keys if each.kind is SignerKind.ACCOUNT_KEY and each.place not in checked]:
            await self._rotations.check(new)
            checked.update(each.place for each in new)
            # Azure takes its time, and something else may have signed a token meanwhile, which is to end as well.
            hit = await self._matching(target, through)
            keys = self._keys(hit, through)
        revocation = Revocation(
            name=name,
            target=target,
            reason=reason,
            hard=hard,
            created_at=datetime.fromtimestamp(self._clock(), UTC),
            created_by=created_by,
            covered=hit.covered,
            covered_until=hit.covered_until,
            keys=keys,
        )
        made = await self._repository.revocations.create(revocation)
        return self._shown(made, hit.covered_until, more=hit.incomplete)

    async def lift(self, name: str, *, lifted_by: str) -> Shown:
        """Lets tokens be issued again. Raises REVOCATION_NOT_FOUND, also where it was lifted before."""

        async def lifted(there: Revocation) -> Revocation:
            if there.lifted_at is not None:
                at = there.lifted_at.isoformat(timespec="seconds")
                raise revocation_lifted(name, there.lifted_by, at)
            return replace(there, lifted_at=datetime.fromtimestamp(self._clock(), UTC), lifted_by=lifted_by)

        check_name("name", name)
        return self._shown(await self._repository.revocations.change(name, lambda _there: True, lifted), 0)

    async def get(self, name: str) -> Shown:
        """Returns one revocation as it is now. Raises REVOCATION_NOT_FOUND."""
        known = self._memory.revocations.get(check_name("name", name))
        if known is None:
            raise revocation_not_found(name)
        return await self._now(known)

    def all(self, *, lifted: bool) -> Sequence[Revocation]:
        """Returns the revocations by name, with those that were lifted if they are wanted."""
        known = self._memory.revocations
        return [known[name] for name in sorted(known) if lifted or known[name].in_force]

    async def shown(self, revocations: Sequence[Revocation]) -> Sequence[Shown]:
        """Returns how far each is now. Raises LEDGER_UNAVAILABLE."""
        return [await self._now(each) for each in revocations]

    def rotation(self, keys: KeyRevocation) -> Rotation | None:
        """Returns the rotation that ends an account's own key, as far as this process heard of it."""
        known = self._memory.rotations.get(rotation_path(keys.rotates)) if keys.rotation else None
        return known if known is not None and known.id == keys.rotation else None

    async def _now(self, revocation: Revocation) -> Shown:
        shown = self._shown(revocation, revocation.covered_until)
        # Not all may have been counted then, or another replica issued one more before it heard of the revocation: by a
        # key that was not ended, it may be.
        if shown.state is RevocationState.REVOKED and (until := await self._impact.last_end(revocation)):
            shown = self._shown(revocation, until)
            return replace(shown, state=RevocationState.WAITING) if shown.state is RevocationState.REVOKED else shown
        return shown

    def _shown(self, revocation: Revocation, until: int, *, more: bool = False) -> Shown:
        # Of more than were counted one may live for ever, as far as is known here; `_now` finds out.
        state = revocation.state(self._clock(), float("inf") if more else until)
        return Shown(revocation, state, until or revocation.covered_until)

    def _known(self, through: str) -> str:
        if through and check_name("through", through) not in self._memory.connectors:
            raise connector_not_found(through)
        return through

    async def _target(self, asked: Asked) -> RevocationTarget:
        if asked.lease_id:
            if asked.principal or asked.grant or asked.connector or asked.resource_id:
                raise InvalidFieldError("lease_id", "is given beside something else", "a lease alone, or no lease")
            return await self._of_lease(asked.lease_id)
        if not (asked.principal or asked.grant or asked.connector or asked.resource_id):
            raise InvalidFieldError(
                "target", "is empty", "a lease, or a principal, a grant, a connector, a resource, or several of them"
            )
        if len(asked.principal) > _MOST_PRINCIPAL or not asked.principal.isprintable():
            raise InvalidFieldError("principal", "is no principal", "one as the ledger shows it, such as key:trainer")
        for field, name in (("grant", asked.grant), ("connector", asked.connector)):
            if name:
                check_name(field, name)
        resource = ResourceId.parse(asked.resource_id) if asked.resource_id else None
        if resource is not None:
            # Its host is only a way to say which account is meant.
            resource = ResourceId(resource.container, resource.prefix, resource.account, directory=resource.directory)
        return RevocationTarget(
            principal=asked.principal, grant=asked.grant, connector=asked.connector, resource=resource
        )

    async def _of_lease(self, lease_id: str) -> RevocationTarget:
        expected = "the id of a living lease, as `valetkey lease list` shows it"
        if len(lease_id) > _MOST_REASON or not lease_id.isprintable():
            raise InvalidFieldError("lease_id", "is no lease id", expected)
        found = await self._ledger.events(EventFilter(lease_id=lease_id, kind=EventKind.TOKEN_ISSUED, limit=1))
        if not found:
            raise InvalidFieldError("lease_id", f"{shown(lease_id)} is not on record", expected)
        lease = found[0].event
        if lease.expires <= self._clock():
            ended = datetime.fromtimestamp(lease.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise InvalidFieldError(
                "lease_id",
                f"{shown(lease_id)} ended by itself at {ended}; there is nothing left to revoke of it",
                "a living lease; or, so that no further tokens are given, its principal: "
                f"--principal {lease.principal}",
            )
        token = token_facts(lease)
        directory = lease.resource.endswith("/")
        return RevocationTarget(
            lease_id=lease_id,
            principal=lease.principal,
            connector=lease.connector,
            resource=ResourceId(token.container, token.path, token.account or None, directory=directory),
        )

    async def _matching(self, target: RevocationTarget, through: str = "", *, every_signer: bool = True) -> Hit:
        """Returns what a target hits. One that means nothing at all is a slip, and would protect nobody."""
        hit = await self._impact.of(target, through, every_signer=every_signer)
        if hit.covered:
            return hit
        if not await self._impact.ever(target):
            if target.connector and target.connector not in self._memory.connectors:
                raise connector_not_found(target.connector)
            if target.grant and target.grant not in self._memory.grants:
                raise grant_not_found(target.grant)
            raise InvalidFieldError(
                "target",
                f"no token was ever issued that is covered by {target}",
                "what `valetkey lease list --all` shows; to keep others from ever getting tokens, change or delete "
                "their grant",
            )
        return hit

    def _check_others(self, target: RevocationTarget, *, hard: bool) -> None:
        for other in self._memory.in_force:
            if other.target == target and (other.hard or not hard):
                at = other.created_at.isoformat(timespec="seconds")
                # Where a rotation goes on without an error, nobody has to be asked any more.
                asked = [
                    each.through for each in other.keys if not each.revoked_at and (each.error or not each.rotation)
                ]
                gone = next((each for each in asked if each not in self._memory.connectors), "")
                raise revoked_already(str(target), other.name, other.created_by, at, gone)

    def _keys(self, hit: Hit, through: str) -> Sequence[KeyRevocation]:
        """Returns the keys to revoke. Raises InvalidFieldError unless all of them can be."""
        if not hit.covered:
            raise InvalidFieldError("hard", "has nothing to end: no token that is covered is alive", "it left out")
        for signer in hit.signers:
            if signer.obstacle:
                raise InvalidFieldError(
                    "hard",
                    f"cannot end {signer.stuck or signer.covered} of the {hit.covered} tokens: {signer.obstacle}",
                    "it left out: further tokens are refused at once, and those that are out are waited for",
                )
        found: list[KeyRevocation] = []
        for signer in hit.signers:
            if signer.kind is SignerKind.ACCOUNT_KEY:
                found += rotated_keys(signer)
                continue
            own = [name for name in signer.connectors if name in self._memory.connectors]
            by = through or own[0]
            probe = own[0] if own else by
            found.append(
                KeyRevocation(
                    cloud=self._memory.connectors[by].azure.cloud,
                    account=signer.account,
                    through=by,
                    probe_connector=probe,
                    container=signer.containers.get(probe, next(iter(signer.containers.values()))),
                )
            )
        return found
