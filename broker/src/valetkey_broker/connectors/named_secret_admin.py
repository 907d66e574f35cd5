"""The use cases of SecretService: named secrets, which connectors share."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime

from valetkey_broker.concurrency.gather_outcomes import outcomes
from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.connector_draft import end_of, secrets_in
from valetkey_broker.connectors.grant_redirection_check import check_redirection, may_redirect
from valetkey_broker.connectors.secret_as_connector import as_connector
from valetkey_broker.errors import BrokerError, secret_exists, secret_not_found, secret_not_verified
from valetkey_broker.model import (
    AzureConfig,
    Connector,
    ConnectorType,
    CredentialValue,
    InvalidFieldError,
    NamedSecret,
    Principal,
    Secret,
    check_secret_name,
)
from valetkey_broker.model.descriptive_field_rules import check_future
from valetkey_broker.ports import AuthMethod, Clock
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

_OF_CONNECTORS = ("subscription_id", "resource_group")


@dataclass(frozen=True, slots=True)
class NewSecret:
    """What an operator asks to store, not yet validated. `secrets` are by field of the auth method.

    With `verify` the credential has to log in first.
    """

    name: str
    type: ConnectorType
    auth_method: str
    azure: AzureConfig
    secrets: Mapping[str, Secret]
    verify: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SecretChange:
    """What is to be different of a secret; what is empty stays. `remove` names fields of `azure`."""

    name: str
    auth_method: str
    azure: AzureConfig
    secrets: Mapping[str, Secret]
    remove: Sequence[str] = ()
    no_verify: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChangedSecret:
    """A secret with its new value, and the connectors that were verified with it."""

    secret: NamedSecret
    verified: Sequence[str]


class NamedSecretAdmin:
    """Stores, shows, changes and deletes named secrets."""

    def __init__(
        self,
        repository: StateRepository,
        memory: Memory,
        connector_admin: ConnectorAdmin,
        auth_methods: Mapping[str, AuthMethod],
        clock: Clock,
    ) -> None:
        """`connector_admin` verifies what uses a secret."""
        self._repository = repository
        self._memory = memory
        self._connector_admin = connector_admin
        self._auth_methods = auth_methods
        self._clock = clock

    async def create(self, new: NewSecret, *, created_by: str) -> NamedSecret:
        """Stores a secret. Raises InvalidFieldError, SECRET_EXISTS, or what logging in raises."""
        azure, value = self._checked(new.auth_method, new.azure, new.secrets)
        now = self._now()
        draft = NamedSecret(
            name=check_secret_name("name", new.name),
            uid=str(uuid.uuid4()),
            type=new.type,
            auth_method=new.auth_method,
            azure=azure,
            secret_fields=self._held(new.auth_method, value),
            credential_version=0,
            created_at=now,
            created_by=created_by,
            updated_at=now,
            updated_by=created_by,
            expires_at=end_of(check_future(new.expires_at, now), value),
        )
        if draft.name in self._memory.secrets:
            raise secret_exists(draft.name)
        if new.verify:
            await self._log_in(draft, value)
        return await self._repository.create_secret(draft, value)

    def get(self, name: str) -> NamedSecret:
        """Returns a secret. Raises SECRET_NOT_FOUND."""
        secret = self._memory.secrets.get(check_secret_name("name", name))
        if secret is None:
            raise secret_not_found(name)
        return secret

    def all(self) -> Sequence[NamedSecret]:
        """Returns all secrets by name."""
        return [self._memory.secrets[name] for name in sorted(self._memory.secrets)]

    def users(self, secret: NamedSecret) -> Sequence[str]:
        """Returns the names of the connectors that use a secret, sorted."""
        return self._memory.named_secrets.users(secret.uid)

    async def update(
        self, change: SecretChange, caller: Principal, drop_keys: Callable[[str], Awaitable[object]]
    ) -> ChangedSecret:
        """Gives a secret another value, once every connector that uses it was verified with it.

        `drop_keys` is called for each connector whose signing keys are to be dropped, for storage takes only keys that
        begin after a revocation. That comes first: where it raises, the secret is as it was, and who tries again has
        the keys dropped, too. Raises InvalidFieldError, SECRET_NOT_FOUND, what `verify` raises for one of the
        connectors, CONFLICT where somebody else changed it meanwhile, or ROLE_REQUIRED where grants would come to mean
        something else and `caller` is no admin.
        """
        await self._repository.refresh()  # What is there is changed, not what was there a poll ago.
        before = self.get(change.name)
        await self._repository.rotations.check_none_under_way(before.object_path, before.uid)
        after, value = await self.drafted(change, before, caller.name)
        may = may_redirect(caller)
        self.check_grants(after, may_redirect=may)
        if change.no_verify:
            stored = await self._repository.update_secret(before, after, value, verified=None)
            return ChangedSecret(stored, ())
        verified, keys_revoked = await self._verified(after, value)
        for name in keys_revoked:
            await drop_keys(name)
        await self._repository.refresh()  # Asking the cloud takes a while, and grants are made meanwhile.
        self.check_grants(after, may_redirect=may)
        stored = await self._repository.update_secret(before, after, value, verified=verified)
        return ChangedSecret(stored, verified)

    async def drafted(
        self, change: SecretChange, before: NamedSecret, changed_by: str
    ) -> tuple[NamedSecret, CredentialValue]:
        """Returns a secret as it is to be, and its value. Raises InvalidFieldError, or what reading the value does."""
        method = change.auth_method or before.auth_method
        azure, value = self._checked(method, self._merged(before, change), await self._secrets(before, change, method))
        after = replace(
            before,
            auth_method=method,
            azure=azure,
            secret_fields=self._held(method, value),
            updated_at=self._now(),
            updated_by=changed_by,
            expires_at=self._end(before, change, method, value),
            rotation="",
            taken_from=0,
        )
        return after, value

    def _end(self, before: NamedSecret, change: SecretChange, method: str, value: CredentialValue) -> datetime | None:
        """Returns when the value ends. What was said of the one before holds for no other."""
        new = bool(change.secrets) or method != before.auth_method
        said = check_future(change.expires_at, self._now()) or (None if new else before.expires_at)
        return end_of(said, value)

    async def proved(self, after: NamedSecret, value: CredentialValue) -> tuple[Sequence[str], Sequence[str]]:
        """Tries a value with every connector that uses the secret, or just logs in where none does.

        Returns the names of those connectors, and of those whose signing keys were revoked. Raises the first error.
        """
        verified, keys_revoked = await self._verified(after, value)
        if not verified:
            await self._log_in(after, value)
        return verified, keys_revoked

    def check_grants(self, after: NamedSecret, *, may_redirect: bool) -> None:
        """Raises ROLE_REQUIRED where a change would have grants mean something else, and the caller is no admin."""
        for connector in self._using(after):
            before = self._memory.connectors[connector.name]
            check_redirection(self._memory, before, connector, self._clock(), may_redirect=may_redirect)

    async def rename(self, name: str, new_name: str, *, renamed_by: str) -> NamedSecret:
        """Gives a secret another name.

        Raises InvalidFieldError, SECRET_NOT_FOUND, SECRET_EXISTS, or ROTATION_UNDER_WAY.
        """
        if check_secret_name("new_name", new_name) == name:
            raise InvalidFieldError("new_name", "is the name that the secret has", "another one")
        check_secret_name("name", name)
        await self._repository.refresh()
        secret = self.get(name)
        # It goes by the name.
        await self._repository.rotations.check_none_under_way(secret.object_path, secret.uid)
        return await self._repository.rename_secret(secret, new_name, renamed_by)

    async def delete(self, name: str, *, deleted_by: str) -> None:
        """Deletes a secret. Raises SECRET_NOT_FOUND or SECRET_IN_USE."""
        await self._repository.delete_secret(check_secret_name("name", name), deleted_by)

    async def _verified(self, secret: NamedSecret, value: CredentialValue) -> tuple[Sequence[str], Sequence[str]]:
        """Tries a value with every connector that uses the secret, up to 8 at a time.

        Returns their names, and the names of those whose signing keys were revoked. Raises the first error of all.
        """
        users = self._using(secret)
        tried = await outcomes(users, lambda connector: self._connector_admin.try_out(connector, value))
        failed = [(connector.name, proof) for connector, proof in tried if isinstance(proof, BrokerError)]
        if failed:
            raise secret_not_verified(secret.name, failed)
        revoked = [each.name for each, proof in tried if not isinstance(proof, BrokerError) and proof.keys_revoked]
        return [each.name for each in users], revoked

    def _using(self, secret: NamedSecret) -> Sequence[Connector]:
        """Returns the connectors that use a secret, as they would work with it, by name."""
        known = self._memory.connectors
        return [secret.used_by(known[name]) for name in self.users(secret) if name in known]

    def _checked(
        self, auth_method: str, azure: AzureConfig, secrets: Mapping[str, Secret]
    ) -> tuple[AzureConfig, CredentialValue]:
        for name in _OF_CONNECTORS:
            if getattr(azure, name):
                raise InvalidFieldError(
                    name, "is nothing that a secret has", "it at the connectors that use the secret"
                )
        config, _, value = self._connector_admin.definitions.way(auth_method, "", azure, secrets)
        return config, value

    def _merged(self, before: NamedSecret, change: SecretChange) -> AzureConfig:
        """Returns the configuration after a change. Of another auth method's, only what leads somewhere stays."""
        known = [each.name for each in fields(AzureConfig)]
        kept = asdict(before.azure)
        if change.auth_method not in ("", before.auth_method):
            kept = {**dict.fromkeys(known, ""), "cloud": kept["cloud"], "storage_account": kept["storage_account"]}
        method = self._auth_methods.get(change.auth_method or before.auth_method)
        if change.secrets and method is not None and all(field.secret for field in method.fields):
            kept["storage_account"] = ""  # Such a credential says itself which account it is of.
        for name in change.remove:
            if name not in known:
                raise InvalidFieldError("remove_fields", "names what no secret has", ", ".join(known))
            kept[name] = ""
        given = {name: value for name, value in asdict(change.azure).items() if value}
        return AzureConfig(**{**kept, **given})

    async def _secrets(self, before: NamedSecret, change: SecretChange, method: str) -> Mapping[str, Secret]:
        """Returns the secret fields after a change: those that are given, or else those there are."""
        if change.secrets or method != before.auth_method:
            return change.secrets
        if change.azure.cloud not in ("", before.azure.cloud):
            raise InvalidFieldError(
                "cloud", "is another one, and a stored secret is sent to no other cloud", "the same"
            )
        stored = await self._repository.secret_value(before)
        return secrets_in(self._auth_methods[method], stored)

    def _held(self, auth_method: str, value: CredentialValue) -> tuple[str, ...]:
        """Returns the names of the secret fields that make up a value."""
        return tuple(secrets_in(self._auth_methods[auth_method], value))

    async def _log_in(self, secret: NamedSecret, value: CredentialValue) -> None:
        await self._connector_admin.try_log_in(as_connector(secret), value)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
