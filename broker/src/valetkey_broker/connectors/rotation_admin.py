"""The use cases of CredentialService: begin a rotation, look at it, abort it, go back, list what is kept."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime

from valetkey_broker.connectors.connector_draft import secrets_in
from valetkey_broker.connectors.credential_versions import CredentialVersion, versions_of
from valetkey_broker.connectors.grant_redirection_check import may_redirect
from valetkey_broker.connectors.rotation_runner import RotationRunner
from valetkey_broker.connectors.rotation_targets import ConnectorTarget, SecretTarget
from valetkey_broker.errors import (
    connector_not_found,
    no_previous_credential,
    rotation_not_found,
    rotation_past_abort,
    rotation_under_way,
    secret_not_found,
    use_secret_rotation,
)
from valetkey_broker.model import (
    AzureConfig,
    CallInfo,
    Connector,
    CredentialValue,
    InvalidFieldError,
    NamedSecret,
    NewWay,
    PreviousWay,
    Rotation,
    RotationState,
    Secret,
    check_name,
    check_secret_name,
    rotation_path,
)
from valetkey_broker.model.principal import KEY_UID
from valetkey_broker.model.rotation import BACK_TO
from valetkey_broker.ports import AuthMethod, Clock
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository
from valetkey_broker.state.rotation_store import LostRotation

GIVEN, ROLLBACK = "given", "rollback"
PROVE_SECONDS = 300
"""How long a new credential is tried for, where nobody says: Entra takes minutes at times."""
MOST_PROVE_SECONDS = 3600
_TRIES = 20
# What replicas need that sign with the old credential still, as account_key_source.py has it.
_GRACE_SECONDS = 15.0
_AZURE = frozenset(each.name for each in fields(AzureConfig))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator gives for a rotation, not yet validated; what is empty or None stays as it is."""

    auth_method: str = ""
    azure: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    expires_at: datetime | None = None
    remove: Sequence[str] = ()
    prove_seconds: int | None = None


class Rotations:
    """Rotates the credential of the object at `connectors/NAME` or `secrets/NAME`."""

    def __init__(
        self,
        *,
        repository: StateRepository,
        memory: Memory,
        runner: RotationRunner,
        connectors: ConnectorTarget,
        secrets: SecretTarget,
        auth_methods: Mapping[str, AuthMethod],
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._memory = memory
        self._runner = runner
        self._connectors = connectors
        self._secrets = secrets
        self._auth_methods = auth_methods
        self._clock = clock

    async def rotate(self, object_path: str, wanted: Wanted, call: CallInfo) -> Rotation:
        """Begins a rotation to a credential that is given, and returns it; it goes on by itself.

        Raises InvalidFieldError, CONNECTOR_NOT_FOUND or SECRET_NOT_FOUND, ROTATION_UNDER_WAY where there is one, or
        ROLE_REQUIRED where grants would come to mean something else and the caller is no admin.
        """
        if not _AZURE.issuperset(wanted.remove):
            raise InvalidFieldError(
                "remove_fields", "names what is no field of azure", f"some of {', '.join(sorted(_AZURE))}"
            )
        there = await self.there(object_path)
        await self._repository.rotations.check_none_under_way(object_path, there.uid)
        method = wanted.auth_method or there.auth_method
        if not wanted.secrets and method in ("", there.auth_method) and not wanted.azure:
            raise InvalidFieldError("azure_secret", "is not given", "the new credential")
        way = NewWay(method, {k: v for k, v in wanted.azure.items() if v}, wanted.expires_at, tuple(wanted.remove))
        draft = self.draft(there, GIVEN, way, call, wanted.prove_seconds)
        return await self.begin(draft, await self._value(draft, there, wanted.secrets))

    async def rollback(self, object_path: str, version: int, prove_seconds: int | None, call: CallInfo) -> Rotation:
        """Begins a rotation back to the credential before, and returns it. `version` 0 stands for that one.

        Raises what `rotate` raises, or NO_PREVIOUS_CREDENTIAL.
        """
        there = await self.there(object_path, "rollback")
        await self._repository.rotations.check_none_under_way(object_path, there.uid)
        kept = there.previous_credential_version
        value = await self._repository.previous_value(there) if kept else None
        if value is None or there.previous is None or version not in (0, kept):
            raise no_previous_credential(object_path, kept, version)
        way = _way_back(there.azure, there.previous)
        draft = self.draft(there, ROLLBACK, way, call, _prove_seconds(prove_seconds, 0))
        draft = replace(draft, notes={BACK_TO: str(kept)})
        secrets = secrets_in(self._auth_methods[way.auth_method], value)
        return await self.begin(draft, await self._value(draft, there, secrets))

    async def begin(self, draft: Rotation, value: CredentialValue | None) -> Rotation:
        """Stores a rotation, in the hands of this process, and begins to work on it. Raises ROTATION_UNDER_WAY."""
        encoded = self._auth_methods[draft.way.auth_method].encode(value) if value is not None else None
        beginning = self._repository.rotations.begin(self._runner.held(draft), encoded)
        begun = await self._repository.background.whole(beginning)
        self._runner.work(begun)
        return begun

    async def get(self, object_path: str, option: str = " --status") -> Rotation:
        """Returns the rotation of an object that is under way, or the last one; `option` is that of the command.

        Raises ROTATION_NOT_FOUND, or what `there` raises.
        """
        rotation = await self._repository.rotations.read(rotation_path(_checked(object_path)))
        if rotation is not None and self._is_foreign(rotation):
            await self._repository.refresh()  # It may be this process that does not know the object yet.
        if rotation is None or self._is_foreign(rotation):
            await self.there(object_path, option=option)
            raise rotation_not_found(object_path)
        return rotation

    def _is_foreign(self, rotation: Rotation) -> bool:
        """Tells whether another object has the name by now. What is gone, and its name with it, may be looked at."""
        known: Mapping[str, Connector | NamedSecret] = self._memory.connectors
        if rotation.object.startswith("secrets/"):
            known = self._memory.secrets
        there = known.get(rotation.name)
        return there is not None and there.uid != rotation.object_uid

    async def abort(self, object_path: str, by: str) -> Rotation:
        """Has a rotation taken back, and returns it. Raises what `get` raises, or ROTATION_UNDER_WAY: too late."""
        for _ in range(_TRIES):
            rotation = await self.get(object_path, " --abort")
            if rotation.state.ended:
                raise rotation_not_found(object_path, rotation.state.value)
            if rotation.state is RotationState.UNDOING and rotation.ends_as is RotationState.ABORTED:
                return rotation  # Somebody was faster, or it is asked for once more.
            if not rotation.state.can_be_aborted:
                raise rotation_past_abort(object_path, rotation.state.value, rotation.started_at, rotation.started_by)
            taken_back = replace(
                rotation,
                state=RotationState.UNDOING,
                ends_as=RotationState.ABORTED,
                reason="ABORTED",
                message=f"aborted by {by}",
                updated_at=self._now(),
            )
            try:
                rotation = await self._repository.rotations.write(taken_back)
            except LostRotation:
                continue  # Its holder showed a sign of life, or went on.
            await self._runner.look()
            return rotation
        raise rotation_under_way(object_path, rotation.state.value, rotation.started_at, rotation.started_by)

    async def hurry(self, object_path: str) -> None:
        """Has a rotation that waits for what an old account key signed wait no longer than replicas need.

        About to have the key made anew, it may wait once more, for what a late replica signed. Whoever works on it
        loses it by this, and goes on with it as it is then.
        """
        for _ in range(_TRIES):
            rotation = await self.get(object_path)
            if not rotation.state.waits_for_leases or rotation.notes.get("now"):
                return
            until = min(rotation.wait_until, self._clock() + _GRACE_SECONDS)
            try:
                await self._repository.rotations.write(
                    replace(rotation, notes={**rotation.notes, "now": "yes"}, wait_until=until, updated_at=self._now())
                )
            except LostRotation:
                continue

    def versions(self, object_path: str) -> Sequence[CredentialVersion]:
        """Returns the versions of a credential that are kept, newest first. Raises …_NOT_FOUND."""
        return versions_of(self._known(object_path, "list-versions"))

    def users(self, rotation: Rotation) -> Sequence[str]:
        """Returns the names of the connectors that use the credential which is rotated, sorted."""
        if rotation.object.startswith("connectors/"):
            return [rotation.name]
        return self._memory.named_secrets.users(rotation.object_uid)

    async def there(self, object_path: str, verb: str = "rotate", *, option: str = "") -> Connector | NamedSecret:
        """Returns what is to be rotated, as it is in Vault now. `verb` and `option` are those of the command.

        Raises …_NOT_FOUND, or INVALID_FIELD with the command to use where a connector's credential is a named secret's.
        """
        _checked(object_path)
        await self._repository.refresh()
        return self._known(object_path, verb, option)

    def _known(self, object_path: str, verb: str, option: str = "") -> Connector | NamedSecret:
        folder, _, name = _checked(object_path).partition("/")
        if folder == "secrets":
            secret = self._memory.secrets.get(name)
            if secret is None:
                raise secret_not_found(name)
            return secret
        connector = self._memory.connectors.get(name)
        if connector is None:
            raise connector_not_found(name)
        if connector.secret_uid:
            raise use_secret_rotation(name, connector.secret, f"{verb} {connector.secret}{option}")
        return connector

    async def _value(
        self, draft: Rotation, there: Connector | NamedSecret, secrets: Mapping[str, Secret]
    ) -> CredentialValue:
        """Returns what is given as a credential. Raises all that can be known before anybody is asked."""
        if isinstance(there, Connector):
            return await self._connectors.checked(draft, there, secrets)
        return await self._secrets.checked(draft, there, secrets)

    def draft(
        self, there: Connector | NamedSecret, source: str, way: NewWay, call: CallInfo, prove_seconds: int | None
    ) -> Rotation:
        """Returns a rotation for `begin`; without `prove_seconds`, for the usual time. Raises InvalidFieldError."""
        now = self._now()
        return Rotation(
            id=str(uuid.uuid4()),
            object=there.object_path,
            object_uid=there.uid,
            source=source,
            state=RotationState.PROVING,
            started_at=now,
            started_by=call.principal.name,
            started_by_uid=call.principal.attributes.get(KEY_UID, ""),
            updated_at=now,
            request_id=call.request_id,
            method=call.method,
            may_redirect=may_redirect(call.principal),
            way=way,
            from_version=there.credential_version,
            prove_seconds=_prove_seconds(prove_seconds, PROVE_SECONDS),
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _checked(object_path: str) -> str:
    """Returns the path of an object if its name is one. Raises InvalidFieldError."""
    folder, _, name = object_path.partition("/")
    if folder == "secrets":
        check_secret_name("secret", name)
    else:
        check_name("connector", name)
    return object_path


def _prove_seconds(given: int | None, otherwise: int) -> int:
    if given is None:
        return otherwise
    if not 0 <= given <= MOST_PROVE_SECONDS:
        raise InvalidFieldError("prove_for", "is no time for that", f"0 to {MOST_PROVE_SECONDS} seconds")
    return given


def _way_back(now: AzureConfig, previous: PreviousWay) -> NewWay:
    """Returns how the credential before logged in, as a change of how the one in use does."""
    before = asdict(previous.azure)
    emptied = tuple(name for name, value in asdict(now).items() if value and not before[name])
    given = {name: value for name, value in before.items() if value}
    return NewWay(previous.auth_method, given, previous.expires_at, emptied)
