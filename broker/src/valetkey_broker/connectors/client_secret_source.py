"""Client secrets that the broker makes by itself, as Entra's application passwords; only its own are ever removed."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from valetkey_broker.connectors.credential_holders import CredentialHolders
from valetkey_broker.connectors.rotation_run import Run
from valetkey_broker.errors import BrokerError, Reason, secret_not_removed_yet
from valetkey_broker.model import Connector, Credential, CredentialValue, Rotation
from valetkey_broker.ports import Cloud
from valetkey_broker.ports.credential_maker import ApplicationPassword, CredentialMaker

GRAPH = "graph"
"""Name of the source."""
SECRET_DAYS = 180
"""For how long a secret is good, where no schedule asks for more."""
_NOT_THERE = frozenset({Reason.CLOUD_REQUEST_REFUSED, Reason.RESOURCE_NOT_FOUND})
# What was asked for may have been done after these.
_UNCERTAIN = frozenset({Reason.CLOUD_UNAVAILABLE})


def ours(uid: str) -> str:
    """Returns how the display names begin of all secrets that were ever made for the object of that uid."""
    return f"valetkey {uid} "


@dataclass(frozen=True, slots=True)
class ApplicationSecretSource:
    """Makes a secret under a name noted beforehand, so that one whose answer was lost is found and removed.

    `grace_seconds` is for replicas that log in with the old one still. `settle_seconds` is how long Graph may take to
    list what was made: https://learn.microsoft.com/graph/best-practices-concept#handling-expected-errors
    """

    maker: CredentialMaker
    cloud: Cloud
    objects: CredentialHolders
    grace_seconds: float = 15.0
    settle_seconds: float = 20.0
    withdraws: bool = True

    async def obtain(self, run: Run) -> CredentialValue:
        """Makes a secret; what earlier tries left is removed before. See rotation_run.CredentialSource."""
        name = f"{ours(run.rotation.object_uid)}{run.rotation.id}"
        await self._sweep(run, lambda each: each.display_name == name)
        await run.note(password_name=name, key_id="")
        by, credential = await self.objects.asker(run)
        there = self.objects.there(run.rotation)
        try:
            made = await self.maker.add_password(by, credential, there.azure.client_id, name, _ends(run.rotation))
        except BrokerError as error:
            if error.reason not in _UNCERTAIN:
                await run.note(password_name="")
            raise
        await run.note(key_id=made.key_id)
        await run.record(run.rotation.state, what=f"made secret {made.key_id}")
        method = self.objects.auth_methods[run.rotation.way.auth_method]
        return method.decode({"client_secret": made.value.reveal()})

    async def wait_until(self, run: Run) -> float:
        """Returns when every replica has the new one. What the old one got from Azure stays good without it."""
        return run.clock() + self.grace_seconds

    async def withdraw(self, run: Run) -> None:
        """Removes every secret that was made for the object but the one in use, which has to work just now."""
        there = self.objects.there(run.rotation)
        itself, credential = await self.objects.itself(there)
        await self.cloud.log_in(itself, credential)
        kept, begins = run.rotation.notes.get("key_id", ""), ours(run.rotation.object_uid)
        in_use = self._text(there.auth_method, credential.value)

        def old(each: ApplicationPassword) -> bool:
            # Somebody may have given the object a secret of ours again: what begins like the one in use, stays.
            return each.display_name.startswith(begins) and each.key_id != kept and not _fits(each, in_use)

        removed = await self._sweep(run, old)
        await self._tell_of_foreign(run, there.azure.client_id, removed)

    async def undo(self, run: Run) -> None:
        """Removes what `obtain` made, or may have made where no answer came."""
        name = run.rotation.notes.get("password_name", "")
        if not name:
            return
        if not await self._sweep(run, lambda each: each.display_name == name):
            await asyncio.sleep(self.settle_seconds)
            await self._sweep(run, lambda each: each.display_name == name)

    async def _sweep(self, run: Run, unwanted: Callable[[ApplicationPassword], bool]) -> Sequence[ApplicationPassword]:
        """Removes secrets, each on record beforehand; returns them. May be called again."""
        by, credential = await self.objects.asker(run)
        client_id = self.objects.there(run.rotation).azure.client_id
        found = [each for each in await self.maker.passwords(by, credential, client_id) if unwanted(each)]
        for each in found:
            await run.record(run.rotation.state, what=f"removing secret {each.key_id}")
            await run.write()  # What was listed by who lost the rotation may be in use by now, by that of others.
            await self._remove(by, credential, client_id, each.key_id)
        return found

    async def _remove(self, by: Connector, credential: Credential, client_id: str, key_id: str) -> None:
        try:
            await self.maker.remove_password(by, credential, client_id, key_id)
        except BrokerError as error:
            if error.reason not in _NOT_THERE:
                raise
            # One that did not get around yet is not found, either.
            if key_id in [each.key_id for each in await self.maker.passwords(by, credential, client_id)]:
                raise secret_not_removed_yet(by.name, key_id) from None

    async def _tell_of_foreign(self, run: Run, client_id: str, removed: Sequence[ApplicationPassword]) -> None:
        """Notes that the secret that was replaced is still valid, where it is not of the broker's making."""
        replaced = await self.objects.repository.previous_value(self.objects.there(run.rotation))
        before = self._text(run.rotation.way.auth_method, replaced) if replaced is not None else ""
        if not before or any(_fits(each, before) for each in removed):
            return
        by, credential = await self.objects.asker(run)
        kept = run.rotation.notes.get("key_id", "")
        there = await self.maker.passwords(by, credential, client_id)
        ids = [each.key_id for each in there if each.key_id != kept and _fits(each, before)]
        if ids:
            # Two secrets may begin alike: which it is, only who made them knows.
            commands = "; ".join(f"az ad app credential delete --id {client_id} --key-id {each}" for each in ids)
            text = "the secret that was replaced is not of the broker's making, and still valid. To remove it"
            await run.write(message=f"{text}: {commands}")

    def _text(self, auth_method: str, value: CredentialValue) -> str:
        try:
            return self.objects.auth_methods[auth_method].encode(value).get("client_secret", "")
        except TypeError:
            return ""  # Another auth method's: it was another way before.


def _fits(password: ApplicationPassword, secret: str) -> bool:
    return bool(password.hint) and secret.startswith(password.hint)


def _ends(rotation: Rotation) -> datetime:
    return rotation.way.expires_at or datetime.now(UTC) + timedelta(days=SECRET_DAYS)
