"""The two keys of a storage account in turn: to the other one, and once nothing hangs on it any more, a new first."""

import asyncio
from dataclasses import dataclass

from valetkey_broker.connectors.credential_holders import CredentialHolders
from valetkey_broker.connectors.rotation_run import Run
from valetkey_broker.errors import (
    BrokerError,
    account_key_about_to_go,
    account_key_given_too_late,
    account_key_in_use,
    account_key_not_regenerated,
)
from valetkey_broker.model import (
    Connector,
    CredentialValue,
    LeaseFilter,
    NamedSecret,
    Secret,
    rotation_path,
)
from valetkey_broker.ports import Cloud, Ledger
from valetkey_broker.ports.credential_maker import CredentialMaker

ACCOUNT_KEY = "account-key"
"""Name of the source."""
_FIRST, _SECOND = "key1", "key2"
_LEASES_AT_ONCE = 1_000
# Dates of Azure's have whole seconds, and storage's own servers are not at one.
_MARGIN_SECONDS = 5.0
_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class AccountKeySource:
    """Switches to the other key of the account. What is made anew at Azure is the old one, and that only at the end.

    `grace_seconds` is how long replicas may sign with the old key after the switch.
    """

    maker: CredentialMaker
    cloud: Cloud
    ledger: Ledger
    objects: CredentialHolders
    grace_seconds: float = 15.0
    withdraws: bool = True

    async def obtain(self, run: Run) -> CredentialValue:
        """Returns the credential with the other key; where neither is in use, with the first."""
        there = self.objects.there(run.rotation)
        by, credential = await self.objects.asker(run)
        keys = await self.maker.account_keys(by, credential, there.azure.storage_account)
        _, in_use = await self.objects.itself(there)
        key = self.objects.account_key(there.auth_method, in_use.value)
        old = next((name for name, value in keys.items() if value == key), "")
        new = _SECOND if old == _FIRST else _FIRST
        # Noted first: of two rotations that come to the two keys of an account at once, one sees the other.
        await run.note(old_key=old, new_key=new)
        if other := await self._regenerated_for(there, new):
            await run.note(old_key="", new_key="")
            raise account_key_about_to_go(there.azure.storage_account, new, other)
        # Read anew: another rotation may have regenerated that key, and ended, before this one was noted.
        keys = await self.maker.account_keys(by, credential, there.azure.storage_account)
        return self.objects.with_key(there.auth_method, in_use.value, keys[new])

    async def wait_until(self, run: Run) -> float:
        """Returns when the last lease ends that the old key signed, by storage's clock; soon, if told not to wait."""
        soon = run.clock() + self.grace_seconds
        return soon if run.rotation.notes.get("now") else max(soon, await self._leases_end(run))

    async def withdraw(self, run: Run) -> None:
        """Regenerates the old key, unless it was done before. Raises CONFLICT while somebody else here uses it."""
        there = self.objects.there(run.rotation)
        name, replaced = run.rotation.notes.get("old_key", ""), await self.objects.previous_key_of(there)
        if not name or replaced is None:
            return
        # A replica that was late may have signed with it after the end was looked up.
        if not run.rotation.notes.get("now"):
            await self._leases_over(run)
        account = there.azure.storage_account
        by, credential = await self.objects.asker(run)
        # Otherwise an earlier try did it, and its answer was lost; or somebody else did.
        if (await self.maker.account_keys(by, credential, account))[name] == replaced:
            if users := await self._users(run, there, account, replaced):
                error = account_key_in_use(account, name, users, by.name)
                await self._told(run, error)
                raise error
            await run.record(run.rotation.state, what=f"regenerating {name} of {account}")
            # Azure takes no number of ours by which it knew who is late. So whoever lost the rotation is told here,
            # right before: others may be through with it, and what is in use by now may be that key made anew.
            await run.note(regenerating=name)
            if (await self.maker.regenerate_key(by, credential, account, name))[name] == replaced:
                raise account_key_not_regenerated(by.name, account, name)
        # Azure takes its time, in which the key was good still, and could be given to something.
        late = await self._users(run, there, account, replaced)
        await self._told(run, account_key_given_too_late(account, name, late, by.name) if late else None)

    async def undo(self, run: Run) -> None:
        """Does nothing: at Azure nothing was changed."""

    async def _regenerated_for(self, there: Connector | NamedSecret, key: str) -> str:
        """Returns what is being rotated such that a key of the same account is made anew; empty for nothing.

        With that key in use here, the other rotation would wait for this one to give it up, and this one for the other.
        """
        await self.objects.repository.refresh()
        for each in self.objects.of_account(there.azure.storage_account):
            if each.uid == there.uid or each.azure.cloud != there.azure.cloud:
                continue
            rotation = await self.objects.repository.rotations.read(rotation_path(each.object_path))
            if rotation is None or rotation.object_uid != each.uid or rotation.source != ACCOUNT_KEY:
                continue
            # One that is being taken back may turn out to have made its switch after all, and goes on then.
            if rotation.notes.get("old_key") == key and not rotation.state.ended:
                return each.object_path
        return ""

    async def _leases_over(self, run: Run) -> None:
        while (until := await self._leases_end(run)) > run.clock():  # noqa: ASYNC110 (other replicas write the ledger)
            await asyncio.sleep(min(until - run.clock(), _LOOK_SECONDS))

    async def _users(self, run: Run, there: Connector | NamedSecret, account: str, key: Secret) -> list[str]:
        _, credential = await self.objects.itself(there)
        users = list(await self.objects.others_with_key(run.rotation, account, key))
        # Whoever is so fast as to give it its old key back.
        if self.objects.account_key(there.auth_method, credential.value) == key:
            users.append(f"{'connector' if isinstance(there, Connector) else 'secret'} {there.name}")
        return users

    async def _leases_end(self, run: Run) -> float:
        """Returns when the last token ends that was signed with a credential before this one, in Unix seconds."""
        last, users = 0.0, self.objects.users(run.rotation)
        if not users:
            return last
        # Where the broker's clock is before storage's, tokens still work when it says that they ended.
        ahead = max(self.cloud.clock_skew(self.objects.memory.connectors[users[0]]) or 0.0, 0.0) + _MARGIN_SECONDS
        active_at = run.clock() - ahead
        for name in users:
            before = None
            while True:
                leases = await self.ledger.leases(
                    LeaseFilter(connector=name, active_at=active_at, before_id=before, limit=_LEASES_AT_ONCE)
                )
                for lease in leases:
                    if lease.event.credential_version < run.rotation.to_version or not run.rotation.to_version:
                        last = max(last, float(lease.event.expires))
                if len(leases) < _LEASES_AT_ONCE:
                    break
                before = leases[-1].id
        return last + ahead if last else 0.0

    async def _told(self, run: Run, error: BrokerError | None) -> None:
        """Shows in the rotation what it waits for, or that it waits no more."""
        reason, message = (error.reason.name, error.message) if error else ("", "")
        if (run.rotation.reason, run.rotation.message) != (reason, message):
            await run.write(reason=reason, message=message)
