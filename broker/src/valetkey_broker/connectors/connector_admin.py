"""The use cases of ConnectorService: registers, verifies, shows and deletes connectors."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.connectors.bulk_reach_in_time import reach_in_time
from valetkey_broker.connectors.canary_probe import Probe
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.connector_draft import Definitions, NewConnector, pinned_unseen
from valetkey_broker.connectors.connector_filter import ConnectorFilter
from valetkey_broker.connectors.connector_types import ConnectorTypeDescription, connector_types
from valetkey_broker.connectors.credential_warnings import credential_warnings
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.connectors.reach_result import AccountError, Reach
from valetkey_broker.connectors.update import ConnectorUpdates
from valetkey_broker.connectors.update_merge import ConnectorChange
from valetkey_broker.connectors.verify import LONGEST_TOKEN, Proof, pinned, verify
from valetkey_broker.errors import BrokerError, connector_exists, connector_not_found, secret_not_found
from valetkey_broker.model import (
    RESOURCE_TYPES,
    CallInfo,
    CloudProfile,
    Connector,
    Container,
    Credential,
    CredentialValue,
    InvalidFieldError,
    Principal,
    ResourceId,
    SigningKey,
    check_name,
    check_secret_name,
)
from valetkey_broker.model.descriptive_field_rules import check_label_key
from valetkey_broker.ports import AuthMethod, Clock, Cloud, Ledger
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository


@dataclass(frozen=True, slots=True)
class ConnectorReach:
    """What one connector reaches, or the error that says why nobody can tell; `errors` are those of single accounts."""

    connector: Connector
    containers: Sequence[Container]
    errors: Sequence[AccountError] = ()
    error: BrokerError | None = None


_ALL = ConnectorFilter()


class ConnectorAdmin:
    """Registers, verifies, shows and deletes connectors."""

    def __init__(
        self,
        *,
        repository: StateRepository,
        memory: Memory,
        cloud: Cloud,
        reach: ReachCache,
        auth_methods: Mapping[str, AuthMethod],
        signing_keys: Callable[[Connector], Sequence[SigningKey]],
        profiles: Mapping[str, CloudProfile],
        default_cloud: str,
        clock: Clock,
        timeout_seconds: float,
        ledger: Ledger,
        longest_token: int = LONGEST_TOKEN,
    ) -> None:
        """`signing_keys` gives the keys that sign for a connector now; `timeout_seconds` is for one question to it.

        `longest_token` is how many seconds there are at most between start and end of the broker's tokens.
        """
        self._ledger = ledger
        self._longest_token = longest_token
        self._repository = repository
        self._memory = memory
        self._cloud = cloud
        self._profiles = profiles
        self._clock = clock
        self._timeout = timeout_seconds
        self._reach = reach
        self._auth_methods = auth_methods
        self._definitions = Definitions(
            auth_methods=auth_methods, profiles=profiles, default_cloud=default_cloud, clock=clock
        )
        self._signing_keys = signing_keys
        self._updates = ConnectorUpdates(
            repository=repository,
            memory=memory,
            definitions=self._definitions,
            auth_methods=auth_methods,
            clock=clock,
            proved=self.proved,
        )

    @property
    def definitions(self) -> Definitions:
        """The rules of what may be said of a connector, and of its credential."""
        return self._definitions

    async def create(
        self, new: NewConnector, *, created_by: str, probe_for: CallInfo | None = None
    ) -> tuple[Connector, Proof]:
        """Verifies a new connector and stores it; stores nothing where verification fails.

        Returns it with what it reaches and what was checked; one that is not to be verified reaches nothing yet. With
        `probe_for`, the call that asks for it, tokens are used too. Raises InvalidFieldError, CONNECTOR_EXISTS, or what
        `verify` raises.
        """
        draft, value = await self._draft(new, created_by)
        if new.no_verify and probe_for:
            raise InvalidFieldError("probe_write", "is part of verifying, which no_verify leaves out", "one of the two")
        if new.no_verify:
            draft = replace(pinned_unseen(draft), unverified=True)
            return await self._store(draft, value), Proof(Reach(()))
        draft, proof = await self.proved(draft, value, probe_for)
        return await self._store(draft, value), proof

    async def update(self, change: ConnectorChange, caller: Principal) -> tuple[Connector, Proof]:
        """Changes a connector; see ConnectorUpdates."""
        return await self._updates.update(change, caller)

    async def proved(
        self, draft: Connector, value: CredentialValue, probe_for: CallInfo | None = None
    ) -> tuple[Connector, Proof]:
        """Returns a draft that was verified, as it is to be stored, with the proof. Raises what `verify` does."""
        # Under another uid: the clients of the connector that serves meanwhile stay, those of the draft do not.
        trial = replace(draft, uid=str(uuid.uuid4()), credential_version=0)
        try:
            proof = await self._verified(trial, Credential(0, value), probe_for)
        finally:
            await self._cloud.forget(trial.uid)
        if draft.resource is not None:
            draft = pinned(draft, proof.reach.containers[0])
        if proof.keys_revoked:
            draft = replace(draft, keys_not_before=int(self._clock()))
        return replace(draft, unverified=False), proof

    def warnings(self, connector: Connector) -> Sequence[str]:
        """Returns what those should know who look after a connector."""
        return credential_warnings(connector.expires_at, self._clock())

    async def check(self, new: NewConnector, *, checked_by: str) -> Proof:
        """Verifies a new connector as `create` does, and returns what that shows; stores and writes nothing.

        Raises InvalidFieldError, CONNECTOR_EXISTS, or what `verify` raises.
        """
        draft, value = await self._draft(new, checked_by)
        return (await self.proved(draft, value))[1]

    def types(self) -> Sequence[ConnectorTypeDescription]:
        """Returns what types connectors can have here."""
        return connector_types(self._auth_methods)

    def get(self, name: str) -> Connector:
        """Returns a connector. Raises CONNECTOR_NOT_FOUND."""
        connector = self._memory.connectors.get(check_name("name", name))
        if connector is None:
            raise connector_not_found(name)
        return connector

    def all(self, wanted: ConnectorFilter = _ALL) -> Sequence[Connector]:
        """Returns the connectors that are wanted, by name. Raises InvalidFieldError where no label can be called so."""
        for key in wanted.labels:
            check_label_key(key)
        known = self._memory.connectors
        return [known[name] for name in sorted(known) if wanted.matches(known[name])]

    async def delete(self, name: str, *, deleted_by: str) -> None:
        """Deletes a connector and its credential. Raises CONNECTOR_NOT_FOUND."""
        await self._repository.delete_connector(check_name("name", name), deleted_by)

    async def verify(self, name: str, resource_id: str = "", *, probe_for: CallInfo | None = None) -> Proof:
        """Logs in anew with a stored connector, and returns what it reaches with tokens of a fresh key.

        With `resource_id`, that container is the only one that is looked at; with `probe_for`, the call that asks for
        it, tokens are used too. `keys_revoked` tells too where storage no longer accepts a key that tokens are signed
        with now: the keys are to be dropped, which is a change, and so not done here.
        """
        connector = self._definitions.narrowed(self.get(name), resource_id)
        proof = await self._verified(connector, await self._repository.credential(connector), probe_for)
        if not self._auth_methods[connector.auth_method].fetches_keys:
            return replace(proof, keys_revoked=False)  # What signs is what was proved just now.
        return replace(proof, keys_revoked=proof.keys_revoked or await self._has_dead_key(connector, proof.reach))

    async def mark_verified(self, connector: Connector) -> Connector:
        """Notes that a connector works as it is. Raises CONFLICT where it was changed since."""
        return await self._repository.update_connector(replace(connector, unverified=False), None)

    async def drop_signing_keys(self, name: str) -> Connector:
        """Has every replica fetch new signing keys; tokens that are out stay.

        Raises CONNECTOR_NOT_FOUND, or InvalidFieldError where there is nothing to fetch.
        """
        connector = self.get(name)
        if not self._auth_methods[connector.auth_method].fetches_keys:
            raise InvalidFieldError(
                "name",
                f"{name} signs with its storage account's own key, which is not fetched",
                "another key in its place: regenerate this one in Azure, and give the connector the other with "
                "`valetkey service-connector update`",
            )
        return await self._repository.drop_signing_keys(check_name("name", name), int(self._clock()))

    async def try_out(self, connector: Connector, value: CredentialValue) -> Proof:
        """Verifies a connector with a credential that it does not have yet; nothing of it is remembered."""
        _, proof = await self.proved(connector, value)
        return proof

    async def try_log_in(self, draft: Connector, value: CredentialValue) -> None:
        """Logs in with a credential that no connector has yet; nothing of it is remembered."""
        try:
            await self._questions(Credential(0, value)).log_in(draft)
        finally:
            await self._cloud.forget(draft.uid)

    async def _draft(self, new: NewConnector, created_by: str) -> tuple[Connector, CredentialValue]:
        """Returns what is to be registered, and its credential; raises CONNECTOR_EXISTS where the name is taken."""
        if new.authentication_secret:
            draft, value = await self._sharing_draft(new, created_by)
        else:
            draft, value = self._definitions.draft(new, created_by)
        if draft.name in self._memory.connectors:  # Saves a slow verification; the write itself decides.
            raise connector_exists(draft.name)
        return draft, value

    async def _sharing_draft(self, new: NewConnector, created_by: str) -> tuple[Connector, CredentialValue]:
        name = check_secret_name("authentication_secret", new.authentication_secret)
        secret = self._memory.secrets.get(name)
        if secret is None:
            raise secret_not_found(name)
        return self._definitions.sharing(new, secret, created_by), await self._repository.secret_value(secret)

    async def _store(self, draft: Connector, value: CredentialValue) -> Connector:
        if draft.secret_uid:
            return await self._repository.create_sharing_connector(draft)
        return await self._repository.create_connector(draft, value)

    async def _has_dead_key(self, connector: Connector, reach: Reach) -> bool:
        questions = CloudClient(self._cloud, self._repository.credential, self._timeout)
        for key in self._signing_keys(connector):
            one = next((each for each in reach.containers if each.account == key.account), None)
            if one is not None and not await questions.accepts(connector, one, key):
                return True
        return False

    async def reach(
        self,
        connectors: Sequence[Connector],
        only: ResourceId | None,
        may_see: Callable[[Connector, Container], bool] = lambda _connector, _container: True,
        *,
        seconds: float | None = None,
        anew: bool = False,
    ) -> Sequence[ConnectorReach]:
        """Says what each of `connectors` reaches, or reached a moment ago; one that fails does not hide the others.

        Each is of a single resource type (`Connector.by_type`). What `may_see` refuses shows up nowhere, errors
        included. It asks for so many `seconds` at most, if any are given (`reach_in_time`). `anew` takes nothing from
        memory before that.
        """
        reached: list[ConnectorReach] = []
        for connector, answer in await reach_in_time(self._reach, connectors, seconds, anew=anew):
            if isinstance(answer, BrokerError):
                reached.append(ConnectorReach(connector, (), error=answer))
                continue
            wanted: list[Container] = []
            async for some in slices(answer.containers):
                seen = [c for c in some if may_see(connector, c)]
                wanted += [c for c in seen if only is None or self._means(only, connector, c)]
            reached.append(ConnectorReach(connector, wanted, answer.errors))
        return reached

    def _means(self, wanted: ResourceId, connector: Connector, container: Container) -> bool:
        if wanted.endpoint is not None:
            profile = self._profiles.get(connector.azure.cloud)
            if profile is None or RESOURCE_TYPES[wanted.type].endpoint(profile, container.account) != wanted.endpoint:
                return False
        return wanted.key == container.key

    async def _verified(self, connector: Connector, credential: Credential, probe_for: CallInfo | None = None) -> Proof:
        questions = self._questions(credential)
        probe = Probe(probe_for, questions, self._ledger, self._profiles, self._clock) if probe_for else None
        return await verify(questions, self._clock, connector, longest_token=self._longest_token, probe=probe)

    def _questions(self, credential: Credential) -> CloudClient:
        async def given(_connector: Connector) -> Credential:
            return credential

        return CloudClient(self._cloud, given, self._timeout)
