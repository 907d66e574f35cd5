"""The use case of UpdateConnector: merges, checks what grants would come to mean, verifies, stores."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from valetkey_broker.connectors.connector_draft import Definitions, pinned_unseen
from valetkey_broker.connectors.grant_redirection_check import check_redirection, may_redirect
from valetkey_broker.connectors.reach_result import Reach
from valetkey_broker.connectors.update_merge import ConnectorChange, changed
from valetkey_broker.connectors.verify import Proof
from valetkey_broker.errors import BrokerError, connector_not_found
from valetkey_broker.model import Connector, CredentialOrigin, CredentialValue, Principal
from valetkey_broker.ports import AuthMethod, Clock
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

Proved = Callable[[Connector, CredentialValue], Awaitable[tuple[Connector, Proof]]]
"""Verifies a connector that is not stored so; returns it as it is to be stored, with the proof."""


class ConnectorUpdates:
    """Puts a change together with what is there, verifies it, and stores it."""

    def __init__(
        self,
        *,
        repository: StateRepository,
        memory: Memory,
        definitions: Definitions,
        auth_methods: Mapping[str, AuthMethod],
        clock: Clock,
        proved: Proved,
    ) -> None:
        self._repository = repository
        self._memory = memory
        self._definitions = definitions
        self._auth_methods = auth_methods
        self._clock = clock
        self._proved = proved

    async def update(self, change: ConnectorChange, caller: Principal) -> tuple[Connector, Proof]:
        """Changes a connector, after having verified it where that touches how or where it leads.

        Returns it as it is then, with what it reached and what was checked. Nothing is changed where verification
        fails. Raises InvalidFieldError, CONNECTOR_NOT_FOUND, CONFLICT where somebody else changed it meanwhile,
        ROLE_REQUIRED where grants would come to mean something else and `caller` is no admin, or what `verify` raises.
        """
        change.checked()
        await self._repository.refresh()  # What is there is changed, not what was there a poll ago.
        before = self._get(change.name)
        if change.touches_the_way:
            await self._repository.rotations.check_none_under_way(before.object_path, before.uid)
        value = await self._value_of(before, needed=not change.secrets)
        after, credential = changed(
            before,
            value,
            change,
            shared=self._memory.secrets.get(before.secret) if before.secret_uid else None,
            definitions=self._definitions,
            auth_methods=self._auth_methods,
            clock=self._clock,
        )
        asked = after
        check_redirection(self._memory, before, asked, self._clock(), may_redirect=may_redirect(caller))
        proof = Proof(Reach(()))
        if change.touches_the_way:
            trial = credential or value
            if change.no_verify or trial is None:
                after = replace(pinned_unseen(after), unverified=True)
            else:
                after, proof = await self._proved(after, trial)
                # Asking the cloud takes a while, and grants are made meanwhile.
                await self._repository.refresh()
                check_redirection(self._memory, before, asked, self._clock(), may_redirect=may_redirect(caller))
        if after == before and credential is None:
            return before, proof
        if credential is not None:
            now = datetime.fromtimestamp(self._clock(), UTC)
            after = replace(after, origin=CredentialOrigin(now, caller.name))
        return await self._repository.update_connector(after, credential), proof

    async def _value_of(self, connector: Connector, *, needed: bool) -> CredentialValue | None:
        try:
            return (await self._repository.credential(connector)).value
        except BrokerError:
            if needed:
                raise
            return None  # A connector whose secret Vault lost gets another.

    def _get(self, name: str) -> Connector:
        connector = self._memory.connectors.get(name)
        if connector is None:
            raise connector_not_found(name)
        return connector
