"""The credentials of connectors in memory: read ahead, so that issuing goes on while Vault is away."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from valetkey_broker.errors import BrokerError, Reason, connector_changed, credential_missing
from valetkey_broker.model import Connector, Credential
from valetkey_broker.ports import AuthMethod, StateStore
from valetkey_broker.state.change_kinds import credential_path, shared_credential_path
from valetkey_broker.state.memory import Memory

_READS_AT_ONCE = 4


class Credentials:
    """Reads the credential of each connector in memory as soon as it is known; what fails is tried again."""

    def __init__(self, store: StateStore, memory: Memory, auth_methods: Mapping[str, AuthMethod]) -> None:
        self._store = store
        self._memory = memory
        self._auth_methods = auth_methods
        self._known: dict[str, Credential] = {}  # by Connector.credential_uid
        self._lost: set[tuple[str, int]] = set()  # (Connector.credential_uid, version)
        self._complete_at = -1  # Memory.changes when nothing was missing
        self._reading: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()

    def forget(self, uid: str) -> None:
        """Forgets the credential of a connector, or a named secret, that went away."""
        self._known.pop(uid, None)

    def missing(self) -> Sequence[Connector]:
        """Returns the connectors whose credential is not in memory in the version in use, but for those Vault lost."""
        return [
            connector
            for connector in self._memory.connectors.values()
            if self.known(connector) is None
            and (connector.credential_uid, connector.credential_version) not in self._lost
        ]

    def known(self, connector: Connector) -> Credential | None:
        """Returns the credential in use if it is in memory."""
        known = self._known.get(connector.credential_uid)
        return known if known is not None and known.version == connector.credential_version else None

    async def get(self, connector: Connector) -> Credential:
        """Returns the credential in use: from memory, or from Vault. Raises VAULT_UNAVAILABLE, or CONFLICT."""
        known = self.known(connector)
        if known is not None:
            return known
        document = await self._store.read(_path(connector), connector.credential_version)
        if document is None:
            raise await self._nothing_there(connector)
        try:
            value = self._auth_methods[connector.auth_method].decode(document.data)
        except (KeyError, TypeError, ValueError):
            raise credential_missing(connector.name, connector.credential_version, connector.secret) from None
        credential = Credential(connector.credential_version, value)
        now = self._memory.connectors.get(connector.name)
        # As it is by now: what a call has that began earlier must not push out what was read since.
        if now is not None and (now.uid, _in_use(now)) == (connector.uid, _in_use(connector)):
            self._known[connector.credential_uid] = credential
        return credential

    def read_ahead(self, *, anew: bool = False) -> None:
        """Begins to read what is missing; call it whenever memory may have changed. `anew` tries the lost ones, too."""
        if anew:
            self._lost.clear()
            self._complete_at = -1
        if self._reading is None and self._complete_at != self._memory.changes:
            self._reading = asyncio.create_task(self._read_missing(), name="credentials")
            self._reading.add_done_callback(self._ended)

    async def settled(self) -> None:
        """Returns once nothing is being read ahead; what failed stays missing."""
        while self._reading is not None:
            await asyncio.wait([self._reading])

    async def close(self) -> None:
        """Ends what is under way. Never raises."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _read_missing(self) -> None:
        away = False

        async def read_each() -> None:
            nonlocal away
            for connector in missing:
                if away:
                    return
                try:
                    await self.get(connector)
                except BrokerError as error:
                    if error.metadata.get("cause") == "not found":
                        self._lost.add((connector.credential_uid, connector.credential_version))
                    else:  # Vault is away, or memory is behind: the next poll begins again.
                        away = error.reason is Reason.VAULT_UNAVAILABLE

        while not away and self._complete_at != (changes := self._memory.changes):
            missing = iter(self.missing())
            await asyncio.gather(*(read_each() for _ in range(_READS_AT_ONCE)))
            if not away:
                self._complete_at = changes

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._reading = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("reading credentials ahead ended early", error_type=type(error).__qualname__)

    async def _nothing_there(self, connector: Connector) -> BrokerError:
        """Says why: the connector changed, which memory has yet to hear of, or Vault lost what belongs to it."""
        there = await self._store.read(f"connectors/{connector.name}")
        if there is None or there.data.get("uid") != connector.uid:
            return connector_changed(connector.name)
        if not connector.secret and there.data.get("credential_version") != connector.credential_version:
            return connector_changed(connector.name)  # It got another since, and those before were destroyed.
        if connector.secret:
            secret = await self._store.read(f"secrets/{connector.secret}")
            now = (secret.data.get("uid"), secret.data.get("credential_version")) if secret is not None else None
            if now != (connector.secret_uid, connector.credential_version):
                return connector_changed(connector.name)
        return credential_missing(connector.name, connector.credential_version, connector.secret)


def _in_use(connector: Connector) -> tuple[str, int]:
    return connector.credential_uid, connector.credential_version


def _path(connector: Connector) -> str:
    shared = connector.secret_uid
    return shared_credential_path(shared) if shared else credential_path(f"connectors/{connector.name}")
