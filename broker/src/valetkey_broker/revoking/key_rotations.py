"""Ends an account's own key for a revocation: by a rotation of what signs with it, followed to its end."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from valetkey_broker.connectors.account_key_source import ACCOUNT_KEY
from valetkey_broker.connectors.credential_holders import CredentialHolders
from valetkey_broker.connectors.made_credential_rotations import Automatic
from valetkey_broker.connectors.rotation_run import Recorded
from valetkey_broker.connectors.rotation_wiring import Rotating
from valetkey_broker.errors import (
    connector_not_found,
    credential_replaced_meanwhile,
    invalid_field,
    key_of_before_not_kept,
    rotation_under_way,
    secret_not_found,
)
from valetkey_broker.model import (
    CallInfo,
    Connector,
    Credential,
    Event,
    EventKind,
    Evidence,
    InvalidFieldError,
    NamedSecret,
    Principal,
    Rotation,
    RotationState,
    Secret,
    SigningKey,
    details_of,
    rotation_path,
)
from valetkey_broker.model.revocation import KeyRevocation, Revocation, SignerKind
from valetkey_broker.ports import Clock, Cloud
from valetkey_broker.revoking.account_key_holders import AccountKeys
from valetkey_broker.revoking.impact import Impact, Signer, token_facts
from valetkey_broker.revoking.key_ledger_records import METHOD

_TOOK_NOTHING_BACK = frozenset({RotationState.FAILED, RotationState.ABORTED, RotationState.UNDOING})


@dataclass(frozen=True, slots=True)
class KeyRotations:
    """Each method may be called again: what stands in Vault says how far it is."""

    rotating: Rotating
    objects: CredentialHolders
    keys: AccountKeys
    impact: Impact
    cloud: Cloud
    recorded: Recorded
    clock: Clock

    async def check(self, keys: Sequence[KeyRevocation]) -> None:
        """Asks Azure to show the keys of every account in question. Raises BrokerError where it does not."""
        for each in keys:
            if each.kind is SignerKind.ACCOUNT_KEY:
                await self.rotating.automatic.checked(each.rotates, self._there(each), each.through)

    async def step(self, revocation: Revocation, keys: KeyRevocation) -> tuple[KeyRevocation, bool]:
        """Returns what is to be noted of an account's key, and whether Azure has made it anew.

        Begins the rotation where none is on its way. Raises BrokerError: to be tried again, or CONFLICT where somebody
        gave another credential meanwhile.
        """
        there = self._there(keys)
        rotation = await self.objects.repository.rotations.read(rotation_path(keys.rotates))
        if rotation is not None and rotation.object_uid == there.uid:
            if self._ends(rotation, keys):
                await self._hurried(rotation)
                if rotation.state is RotationState.OBTAINING:
                    await self._cleared(revocation, there)
                over = rotation.state is RotationState.DONE
                return replace(keys, rotation=rotation.id, error="" if over else rotation.message), over
            if not rotation.state.ended:
                await self._hurried(rotation)
                state, since = rotation.state.value, rotation.started_at
                raise rotation_under_way(keys.rotates, state, since, rotation.started_by, rotation.message)
        if not revocation.in_force:
            return replace(keys, rotation=""), False
        if there.credential_version != keys.version:
            raise credential_replaced_meanwhile(keys.rotates)
        await self._cleared(revocation, there)
        return replace(keys, rotation=(await self._begun(revocation, keys)).id, error=""), False

    async def joined(self, revocation: Revocation, keys: KeyRevocation) -> Sequence[KeyRevocation]:
        """Returns what has to be rotated, too, of late: whatever here is in use with the key that is to end.

        Somebody may have given it to another connector since the revocation was made, and Azure does not make it anew
        before that has another. Raises VAULT_UNAVAILABLE.
        """
        there = self._there(keys)
        if there.previous_credential_version != keys.version or not revocation.in_force:
            return ()
        key = await self.objects.previous_key_of(there)
        known = {each.rotates_uid for each in revocation.keys}
        return [
            KeyRevocation(
                cloud=keys.cloud,
                account=keys.account,
                through=keys.through,
                probe_connector=(*holder.users, keys.through)[0],
                container=keys.container,
                kind=keys.kind,
                rotates=holder.path,
                rotates_uid=holder.uid,
                version=holder.version,
            )
            for holder in (await self.keys.sharing(there, key) if key is not None else ())
            if holder.uid not in known
        ]

    async def signed(
        self, revocation: Revocation, keys: KeyRevocation
    ) -> tuple[Sequence[Event], Sequence[Event], bool]:
        """Returns the living tokens that the key signed: those that a revocation covers, and the others.

        Tells, too, whether there may be more.
        """
        users = self.users(keys)

        def by_it(event: Event) -> bool:
            return event.connector in users and event.credential_version <= keys.version

        alive, too_many = await self.impact.alive(revocation.target)
        covered = [each for each in alive if by_it(each) and token_facts(each).account == keys.account]
        others, more = await self.impact.others(keys.account, SignerKind.ACCOUNT_KEY, revocation.target)
        return covered, list(filter(by_it, others)), more or too_many

    def users(self, keys: KeyRevocation) -> Sequence[str]:
        """Returns the names of the connectors that sign with what is rotated."""
        there = self._there(keys)
        return [there.name] if isinstance(there, Connector) else self.objects.memory.named_secrets.users(there.uid)

    async def key_of_before(self, connector: Connector, keys: KeyRevocation) -> SigningKey:
        """Returns the key that was made anew, to try it on storage. Raises CONFLICT where it is not kept any more."""
        there = self._there(keys)
        value = await self.objects.repository.previous_value(there)
        if value is None or there.previous_credential_version != keys.version:
            raise key_of_before_not_kept(keys.rotates)
        method = there.previous.auth_method if there.previous else there.auth_method
        probe = replace(connector, uid=str(uuid.uuid4()), auth_method=method, credential_version=keys.version)
        try:
            now = self.clock()
            return await self.cloud.signing_key(
                probe, Credential(keys.version, value), keys.account, starts=now, expires=now
            )
        finally:
            await self.cloud.forget(probe.uid)

    async def _begun(self, revocation: Revocation, keys: KeyRevocation) -> Rotation:
        """Begins the rotation, on record before and after; whoever else was faster, did it for this one, too."""
        call = CallInfo(str(uuid.uuid4()), METHOD, _whoever_made(revocation), "")
        try:
            wanted = Automatic(by=keys.through, at_once=True)
            draft = await self.rotating.automatic.drafted(keys.rotates, wanted, call)
        except InvalidFieldError as error:
            raise invalid_field(error) from None  # The connector that is asked by leads elsewhere by now, say.
        details = details_of(auto="yes", by=keys.through, revocation=revocation.name)
        begun = self._change_begun(revocation, rotation_path(keys.rotates), call.request_id, details)
        return await self._made(begun, lambda: self.rotating.rotations.begin(draft, None))

    async def _cleared(self, revocation: Revocation, there: Connector | NamedSecret) -> None:
        """Has nothing else wait for leases with the account's other key, which this one is to have instead.

        A rotation that would make that key anew is taken back; where what it is for has the key of this one already, it
        waits no more. One that does not wait for leases is left alone: it is through in a moment, and may be another
        revocation's.
        """
        if (key := await self.objects.key_of(there)) is None:
            return
        for rotation in await self._of_other_key(there, key):
            if rotation.state.can_be_aborted:
                begun = self._change_begun(
                    revocation, rotation.path, str(uuid.uuid4()), details_of(abort="yes", revocation=revocation.name)
                )
                by = f"{revocation.created_by}, for the key is needed by the hard revocation {revocation.name}"
                await self._made(begun, partial(self.rotating.rotations.abort, rotation.object, by))
            else:
                await self._hurried(rotation)

    async def _of_other_key(self, there: Connector | NamedSecret, key: Secret) -> Sequence[Rotation]:
        """Returns the rotations that would make the account's other key anew, once its leases have ended."""
        found = []
        for each in self.objects.of_account(there.azure.storage_account):
            if each.uid == there.uid or each.azure.cloud != there.azure.cloud:
                continue
            rotation = await self.objects.repository.rotations.read(rotation_path(each.object_path))
            if rotation is None or (rotation.object_uid, rotation.source) != (each.uid, ACCOUNT_KEY):
                continue
            if not (rotation.state.can_be_aborted or rotation.state.waits_for_leases) or rotation.notes.get("now"):
                continue
            before = each.credential_version == rotation.from_version
            old = await (self.objects.key_of(each) if before else self.objects.previous_key_of(each))
            if old is not None and old != key:
                found.append(rotation)
        return found

    async def _made(self, begun: Event, work: Callable[[], Awaitable[Rotation]]) -> Rotation:
        """Makes a change such that nobody who waits for it no longer cuts it from its record."""
        return cast("Rotation", await self.objects.repository.background.whole(self._recorded(begun, work)))

    async def _recorded(self, begun: Event, work: Callable[[], Awaitable[Rotation]]) -> Rotation:
        return cast("Rotation", await self.recorded(begun, work))

    def _change_begun(self, revocation: Revocation, path: str, request_id: str, details: Mapping[str, str]) -> Event:
        return Event(
            kind=EventKind.CHANGE_BEGUN,
            time=self.clock(),
            request_id=request_id,
            method=METHOD,
            principal=revocation.created_by,
            object=path,
            details=details,
        )

    async def _hurried(self, rotation: Rotation) -> None:
        if rotation.source == ACCOUNT_KEY and rotation.state.waits_for_leases:
            await self.rotating.rotations.hurry(rotation.object)

    def _ends(self, rotation: Rotation, keys: KeyRevocation) -> bool:
        """Tells whether a rotation makes the very key anew, or did."""
        if rotation.source != ACCOUNT_KEY or rotation.from_version != keys.version:
            return False
        return rotation.state not in _TOOK_NOTHING_BACK

    def _there(self, keys: KeyRevocation) -> Connector | NamedSecret:
        there = self.keys.there(keys.rotates, keys.rotates_uid)
        if there is None:
            folder, _, name = keys.rotates.partition("/")
            raise (secret_not_found if folder == "secrets" else connector_not_found)(name)
        return there


def _whoever_made(revocation: Revocation) -> Principal:
    return Principal(revocation.created_by, frozenset(), Evidence.API_KEY, float("inf"))


def rotated_keys(signer: Signer) -> Sequence[KeyRevocation]:
    """Returns the rotations by which an account's own key ends: one for each that has it."""
    anywhere = next(iter(signer.containers.values()))
    found = []
    for holder in signer.holders:
        probe = next((name for name in holder.users if name in signer.containers), (*holder.users, signer.by)[0])
        found.append(
            KeyRevocation(
                cloud=signer.cloud,
                account=signer.account,
                through=signer.by,
                probe_connector=probe,
                container=signer.containers.get(probe, anywhere),
                kind=signer.kind,
                rotates=holder.path,
                rotates_uid=holder.uid,
                version=holder.version,
            )
        )
    return found
