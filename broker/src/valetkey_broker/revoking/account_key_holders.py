"""What signs with a storage account's own key, and whether the broker can end that key by giving it another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from valetkey_broker.connectors.account_key_source import ACCOUNT_KEY
from valetkey_broker.connectors.credential_holders import CredentialHolders
from valetkey_broker.errors import connector_changed
from valetkey_broker.model import CloudProfile, Connector, Event, NamedSecret, Rotation, RotationState, Secret
from valetkey_broker.model.rotation import rotation_path

# An old key that such a rotation has made anew, or still does: its tokens need no other one.
_ENDS_OLD_KEY = frozenset({RotationState.DONE, RotationState.WAITING, RotationState.WITHDRAWING})


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A connector, or a named secret, that has a key of an account: the object at `path`.

    `version` is that of the credential whose key is to be ended; `users` are the connectors that sign with it.
    """

    path: str
    uid: str
    version: int
    users: Sequence[str]

    @property
    def command(self) -> str:
        """The command that rotates it, up to its options."""
        folder, _, name = self.path.partition("/")
        return f"valetkey {'secret' if folder == 'secrets' else 'service-connector'} rotate {name}"


@dataclass(frozen=True, slots=True)
class KeyReach:
    """Who holds the key that is to be ended, and by which connector the broker can do it; or what stands in the way.

    `stuck` is how many of the tokens that is about, 0 for all.
    """

    holders: Sequence[KeyHolder]
    by: str = ""
    obstacle: str = ""
    stuck: int = 0


class AccountKeys:
    """Looks at connectors and secrets; asks no cloud."""

    def __init__(self, objects: CredentialHolders, profiles: Mapping[str, CloudProfile]) -> None:
        self._objects = objects
        self._profiles = profiles

    async def reach(self, covered: Sequence[Event], through: str) -> KeyReach:
        """Returns by what rotations the account's key behind some tokens would end.

        `through` is the connector that an operator named for it; else it is the one of a schedule. Raises
        VAULT_UNAVAILABLE, or CONFLICT where a connector went away meanwhile.
        """
        there = self._signers(covered)
        holders = [self._holder(each, covered) for each in there]
        by = through or next((each.rotation_schedule.by for each in there if each.rotation_schedule), "")
        if not by:
            return KeyReach(holders, obstacle=_by_hand(holders))
        # From here on it counts who has which key now, and memory may be a poll behind.
        await self._objects.repository.refresh()
        there = self._signers(covered)
        for each in there:
            await self._objects.repository.rotations.catch_up(each.object_path, each.uid)
        holders = [self._holder(each, covered) for each in there]
        keys = [await self._objects.key_of(each) for each in there]
        first = keys[0] if keys else None
        if first is None:
            return KeyReach(holders, by, "what signs them is no key of an account that could be made anew")
        if any(key != first for key in keys):
            text = "signed with both keys of the account, which cannot be ended at once. One after the other"
            return KeyReach(holders, by, f"{text}: {_commands(holders, by)}")
        if obstacle := self._asked(there[0], by):
            return KeyReach(holders, by, obstacle)
        if left := self._left_behind(holders, there, covered):
            obstacle = _left_behind(left, there[0].azure.storage_account, by)
            return KeyReach(holders, by, obstacle, sum(count for _, count in left))
        known = {each.path for each in holders}
        sharing = await self.sharing(there[0], first)
        return KeyReach([*holders, *(each for each in sharing if each.path not in known)], by)

    async def sharing(self, there: Connector | NamedSecret, key: Secret) -> Sequence[KeyHolder]:
        """Returns what else is in use with a key of the account of something. Raises VAULT_UNAVAILABLE."""
        return [self._holder(each, ()) for each in await self._others(there, key)]

    def there(self, path: str, uid: str) -> Connector | NamedSecret | None:
        """Returns the object at a path, None where it is gone."""
        folder, _, name = path.partition("/")
        memory = self._objects.memory
        known: Mapping[str, Connector | NamedSecret] = memory.secrets if folder == "secrets" else memory.connectors
        found = known.get(name)
        return found if found is not None and found.uid == uid else None

    def _signers(self, covered: Sequence[Event]) -> list[Connector | NamedSecret]:
        """Returns whose credentials signed some tokens, by name. Raises CONFLICT where one was deleted just now."""
        memory, found = self._objects.memory, {}
        for name in sorted({each.connector for each in covered}):
            connector = memory.connectors.get(name)
            holder: Connector | NamedSecret | None = connector
            if connector is not None and connector.secret_uid:
                holder = memory.secrets.get(connector.secret)
            if holder is None:
                raise connector_changed(name)  # Deleted since the tokens were looked at: what to do is another thing.
            found[holder.uid] = holder
        return list(found.values())

    def _holder(self, there: Connector | NamedSecret, covered: Sequence[Event]) -> KeyHolder:
        users = [there.name] if isinstance(there, Connector) else self._objects.memory.named_secrets.users(there.uid)
        versions = [each.credential_version for each in covered if each.connector in users]
        return KeyHolder(there.object_path, there.uid, max(versions, default=there.credential_version), users)

    def _asked(self, there: Connector | NamedSecret, by: str) -> str:
        """Returns why a connector cannot be asked by for another key; empty where it can."""
        asked = self._objects.memory.connectors.get(by)
        if asked is None:
            return f"there is no connector {by}, by which the key would be made anew"
        if asked.azure.cloud != there.azure.cloud:
            return f"the connector {by} is in another cloud than the key"
        profile = self._profiles.get(asked.azure.cloud)
        if profile is None or not profile.arm_endpoint:
            return "the cloud of its connector has no arm_endpoint in the broker's settings: Azure cannot be asked"
        if not self._objects.auth_methods[asked.auth_method].fetches_keys:
            return f"the connector {by} has an account's key alone, which Azure Resource Manager does not know"
        return ""

    def _left_behind(
        self, holders: Sequence[KeyHolder], there: Sequence[Connector | NamedSecret], covered: Sequence[Event]
    ) -> Sequence[tuple[KeyHolder, int]]:
        """Returns how many tokens there are whose key nothing here has any more, by whose key it was."""
        left = []
        for holder, each in zip(holders, there, strict=True):
            ending = self._ending(each)
            count = sum(
                1
                for event in covered
                if event.connector in holder.users
                and event.credential_version < each.credential_version
                and (ending is None or ending.from_version != event.credential_version)
            )
            if count:
                left.append((holder, count))
        return left

    def _ending(self, there: Connector | NamedSecret) -> Rotation | None:
        """Returns the last rotation of an object, if it made its old key anew or is about to."""
        last = self._objects.memory.rotations.get(rotation_path(there.object_path))
        if last is None or last.object_uid != there.uid or last.source != ACCOUNT_KEY:
            return None
        return last if last.state in _ENDS_OLD_KEY else None

    async def _others(self, there: Connector | NamedSecret, key: Secret) -> list[Connector | NamedSecret]:
        """Returns what else is in use with the same key: Azure makes none anew while somebody here needs it."""
        others = [each for each in self._objects.of_account(there.azure.storage_account) if each.uid != there.uid]
        return [
            each for each in sorted(others, key=attrgetter("object_path")) if await self._objects.key_of(each) == key
        ]


def _by_hand(holders: Sequence[KeyHolder]) -> str:
    return (
        "signed with a key of the storage account itself, which ends by another in its place only. Name with --by a "
        "connector whose service principal may list and regenerate the account's keys, and the broker does that; or "
        f"do it yourself: {_commands(holders, 'CONNECTOR')}"
    )


def _left_behind(left: Sequence[tuple[KeyHolder, int]], account: str, by: str) -> str:
    """Returns what is to be said of tokens whose key nothing here has any more.

    Which of the account's two keys that was, nobody knows: two rotations in a row have Azure make both anew.
    """
    whose = ", ".join(f"{count} by an earlier key of {holder.path}" for holder, count in left)
    return (
        "signed with a key that was replaced since and never seen refused, which the broker does not have any more: "
        f"{whose}. Revoke without --hard, which works at once; then have Azure make both keys of account {account} "
        f"anew: {_commands([holder for holder, _ in left], by)}, and the same again once that rotation is done"
    )


def _commands(holders: Sequence[KeyHolder], by: str) -> str:
    return "; ".join(f"{each.command} --auto --by {by} --now" for each in holders)
