"""What gets another credential, and by whose rights its provider is asked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from valetkey_broker.connectors.rotation_run import Run
from valetkey_broker.connectors.secret_as_connector import as_connector
from valetkey_broker.errors import BrokerError, Reason, changed_by_others, connector_not_found, secret_not_found
from valetkey_broker.model import Connector, Credential, CredentialValue, NamedSecret, Rotation, Secret
from valetkey_broker.ports import AuthMethod
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

# What the auth methods of account keys keep: the key, or a connection string with it.
_KEY, _STRING = "account_key", "connection_string"
_KEY_OF_STRING = "AccountKey"  # Apart, for what stands behind it in one text is starred in all that is shown.
_LOOKS = 5
_IN_STRING = re.compile(rf"(?<={_KEY_OF_STRING}=)[^;]+")


@dataclass(frozen=True, slots=True)
class CredentialHolders:
    """Finds what rotations are about, as it is now."""

    repository: StateRepository
    memory: Memory
    auth_methods: Mapping[str, AuthMethod]

    def there(self, rotation: Rotation) -> Connector | NamedSecret:
        """Returns what gets another credential. Raises CONNECTOR_NOT_FOUND or SECRET_NOT_FOUND."""
        known: Mapping[str, Connector | NamedSecret] = self.memory.connectors
        missing = connector_not_found
        if rotation.object.startswith("secrets/"):
            known, missing = self.memory.secrets, secret_not_found
        found = known.get(rotation.name)
        if found is None or found.uid != rotation.object_uid:
            raise missing(rotation.name)
        return found

    async def itself(self, of: Connector | NamedSecret) -> tuple[Connector, Credential]:
        """Returns a connector, or a secret as one, with the credential in use."""
        if isinstance(of, Connector):
            return of, await self.repository.credential(of)
        return as_connector(of), Credential(of.credential_version, await self.repository.secret_value(of))

    async def asked_by(self, of: Connector | NamedSecret, by: str) -> tuple[Connector, Credential]:
        """Returns by whose rights the provider is asked: those of `by`, or where that is empty the object's own."""
        if not by:
            return await self.itself(of)
        connector = self.memory.connectors.get(by)
        if connector is None:
            raise connector_not_found(by)
        return connector, await self.repository.credential(connector)

    async def asker(self, run: Run) -> tuple[Connector, Credential]:
        """Returns by whose rights the provider is asked for a rotation."""
        return await self.asked_by(self.there(run.rotation), run.rotation.notes.get("by", ""))

    def users(self, rotation: Rotation) -> Sequence[str]:
        """Returns the names of the connectors that work with the credential."""
        there = self.there(rotation)
        return [there.name] if isinstance(there, Connector) else self.memory.named_secrets.users(there.uid)

    def account_key(self, auth_method: str, value: CredentialValue) -> Secret | None:
        """Returns the account's key in a credential; None where it is another kind of credential."""
        document = self.auth_methods[auth_method].encode(value)
        if _KEY in document:
            return Secret(document[_KEY])
        found = _IN_STRING.search(document.get(_STRING, ""))
        return Secret(found[0]) if found else None

    def with_key(self, auth_method: str, value: CredentialValue, key: Secret) -> CredentialValue:
        """Returns the same credential with another key of the account."""
        document = dict(self.auth_methods[auth_method].encode(value))
        if _KEY in document:
            document[_KEY] = key.reveal()
        else:
            document[_STRING] = _IN_STRING.sub(lambda _: key.reveal(), document[_STRING])
        return self.auth_methods[auth_method].decode(document)

    async def key_of(self, there: Connector | NamedSecret) -> Secret | None:
        """Returns the account's key that something is in use with, None where it has none, or nothing that works.

        Where memory turns out to be behind, it is the key that is in use by now. Raises VAULT_UNAVAILABLE, or CONFLICT
        where it changes all the time: what nobody can tell now must not be taken for another key.
        """
        now: Connector | NamedSecret | None = there
        for _ in range(_LOOKS):
            if now is None:
                return None  # It is gone.
            looked_at = now
            try:
                _, credential = await self.itself(looked_at)
                return self.account_key(looked_at.auth_method, credential.value)
            except BrokerError as error:
                if error.reason is Reason.VAULT_UNAVAILABLE and error.metadata.get("cause") != "not found":
                    raise
            except (KeyError, TypeError, ValueError):
                return None
            await self.repository.refresh()
            now = self._by_now(looked_at)
            if now is not None and now.credential_version == looked_at.credential_version:
                return None  # Vault lost it: whatever uses it does not work anyway.
        raise changed_by_others(there.object_path)

    async def previous_key_of(self, there: Connector | NamedSecret) -> Secret | None:
        """Returns the account's key that something had before; None where none is kept. Raises VAULT_UNAVAILABLE."""
        value = await self.repository.previous_value(there)
        method = there.previous.auth_method if there.previous else there.auth_method
        return self.account_key(method, value) if value is not None else None

    def _by_now(self, of: Connector | NamedSecret) -> Connector | NamedSecret | None:
        """Returns the same thing as memory has it; named secrets are renamed at times."""
        known = self.memory.connectors if isinstance(of, Connector) else self.memory.secrets
        return next((each for each in known.values() if each.uid == of.uid), None)

    def of_account(self, account: str) -> Sequence[Connector | NamedSecret]:
        """Returns what has a credential of its own for an account that it names: connectors, and named secrets."""
        own = [each for each in self.memory.connectors.values() if not each.secret_uid]
        every: list[Connector | NamedSecret] = [*own, *self.memory.secrets.values()]
        return [each for each in every if each.azure.storage_account == account]

    async def others_with_key(self, rotation: Rotation, account: str, key: Secret) -> Sequence[str]:
        """Returns which other connectors and secrets are in use with a key of an account, for people.

        As it is in Vault now: another replica may have given the key to something a moment ago. Raises
        VAULT_UNAVAILABLE.
        """
        await self.repository.refresh()
        return sorted(
            [
                f"{'connector' if isinstance(each, Connector) else 'secret'} {each.name}"
                for each in self.of_account(account)
                if each.uid != rotation.object_uid and await self.key_of(each) == key
            ]
        )
