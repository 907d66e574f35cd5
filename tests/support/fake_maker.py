"""A maker of credentials in memory; tests/contract/test_credential_maker.py holds it to the port."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Literal

from valetkey_broker.errors import BrokerError, Reason, cloud_error
from valetkey_broker.model import Connector, Credential, Secret
from valetkey_broker.ports.credential_maker import ApplicationPassword, NewPassword
from valetkey_devstack.azurite import new_key

Call = Literal["passwords", "add_password", "remove_password", "account_keys", "regenerate_key"]


class FakeMaker:
    """Implements `ports.credential_maker.CredentialMaker` for one application and the accounts in `keys`.

    `made` holds every secret that is there by key id, with its display name, and `ends` when they end; `hidden` key ids
    are not listed and cannot be removed. `on_made` is told of each secret that comes, `on_removed` of each that goes,
    keys of accounts included.
    """

    def __init__(self, client_id: str, first: Secret, accounts: Sequence[str] = ()) -> None:
        self.client_id = client_id
        self.made: dict[str, tuple[str, Secret]] = {"by-hand": ("by hand", first)}
        self.ends: dict[str, datetime] = {}
        self.keys = {account: {"key1": new_key(), "key2": new_key()} for account in accounts}
        self.hidden: set[str] = set()
        self.new_ones_hidden = False
        self.calls: Counter[str] = Counter()
        self.on_made: Callable[[Secret], None] = lambda _: None
        self.on_removed: Callable[[Secret], None] = lambda _: None
        self._failures: dict[str, tuple[BrokerError, int, bool]] = {}
        self._serial = count(1)

    def fail(self, call: Call, reason: Reason, *, times: int = 1, done: bool = False) -> None:
        """Makes `call` raise for the next `times` calls; with `done` after it did what was asked."""
        error = cloud_error(reason, f"the fake fails {call}", step=call, connector="fake")
        self._failures[call] = (error, times, done)

    def names(self) -> list[str]:
        """Returns the display names of all secrets, in the order they were made."""
        return [name for name, _ in self.made.values()]

    async def passwords(self, by: Connector, credential: Credential, client_id: str) -> Sequence[ApplicationPassword]:
        self._begin("passwords", client_id)
        return [
            ApplicationPassword(key_id, name, value.reveal()[:3], self.ends.get(key_id))
            for key_id, (name, value) in self.made.items()
            if key_id not in self.hidden
        ]

    async def add_password(
        self, by: Connector, credential: Credential, client_id: str, display_name: str, ends: datetime
    ) -> NewPassword:
        self._begin("add_password", client_id)
        number = next(self._serial)
        key_id, value = f"made-{number}", Secret(f"s{number}~secret-made-by-the-fake")
        self.made[key_id] = (display_name, value)
        self.ends[key_id] = ends
        if self.new_ones_hidden:
            self.hidden.add(key_id)
        self.on_made(value)
        self._end("add_password")
        return NewPassword(key_id, value)

    async def remove_password(self, by: Connector, credential: Credential, client_id: str, key_id: str) -> None:
        self._begin("remove_password", client_id)
        if key_id not in self.made or key_id in self.hidden:
            raise _refused("Request_BadRequest", "remove_password")
        self.on_removed(self.made.pop(key_id)[1])
        self._end("remove_password")

    async def account_keys(self, by: Connector, credential: Credential, account: str) -> Mapping[str, Secret]:
        self._begin("account_keys")
        return dict(self._account(account))

    async def regenerate_key(
        self, by: Connector, credential: Credential, account: str, name: str
    ) -> Mapping[str, Secret]:
        self._begin("regenerate_key")
        keys = self._account(account)
        if name not in keys:
            raise _refused("InvalidValuesForRequestParameters", "regenerate_key")
        self.on_removed(keys[name])
        keys[name] = new_key()
        self.on_made(keys[name])
        self._end("regenerate_key")
        return dict(keys)

    def _account(self, account: str) -> dict[str, Secret]:
        if account not in self.keys:
            raise cloud_error(Reason.RESOURCE_NOT_FOUND, "no such account", step="account", connector="fake")
        return self.keys[account]

    def _begin(self, call: Call, client_id: str = "") -> None:
        self.calls[call] += 1
        self._raise_planned(call, done=False)
        if client_id not in ("", self.client_id):
            text = "not an application of ours"
            raise cloud_error(Reason.CLOUD_PERMISSION_MISSING, text, step=call, connector="fake")

    def _end(self, call: Call) -> None:
        self._raise_planned(call, done=True)

    def _raise_planned(self, call: Call, *, done: bool) -> None:
        planned = self._failures.get(call)
        if planned is None or planned[2] is not done:
            return
        error, times, _ = planned
        self._failures[call] = (error, times - 1, done)
        if times <= 1:
            del self._failures[call]
        raise error.again_in(error.retry_after)


def _refused(code: str, step: str) -> BrokerError:
    text = "the fake knows no such thing"
    return cloud_error(Reason.CLOUD_REQUEST_REFUSED, text, step=step, connector="fake", azure_code=code)
