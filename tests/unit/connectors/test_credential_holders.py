"""Which key of an account something is in use with: as it is in Vault, where memory is behind."""

from dataclasses import replace

import pytest

from support.core import make_secret
from support.fake_store import FakeStateStore
from support.rotating_replica import RotatingReplica, by_account_key
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import AzureConfig, Secret
from valetkey_broker.ports import Document
from valetkey_devstack.azurite import new_key

NAME = "by-key"
SECRET = "shared"


class Store(FakeStateStore):
    """Has something happen before each reading of a credential, for as long as there is something left to happen."""

    def __init__(self) -> None:
        super().__init__()
        self.happens: list[str] = []
        self.others: RotatingReplica | None = None

    async def read(self, path: str, version: int | None = None) -> Document | None:
        if self.others is not None and self.happens and "credentials/" in path:
            await self._happen(self.others, self.happens.pop(0))
        return await super().read(path, version)

    async def _happen(self, others: RotatingReplica, what: str) -> None:
        repository = others.repository
        self.others = None
        await repository.refresh()
        for _ in range(2):  # So that the credential of before is not kept, either.
            there = others.memory.connectors.get(NAME)
            if there is not None:
                await repository.update_connector(there, AccountKey(Secret(what)))
            else:
                secret = others.memory.secrets[SECRET]
                await repository.update_secret(secret, secret, AccountKey(Secret(what)), verified=None)
            await repository.refresh()
        self.others = others


async def _two(store: Store, key: Secret, *, of_a_secret: bool) -> tuple[RotatingReplica, RotatingReplica]:
    """Returns two replicas that know a connector with a key, or a named secret; the first has not read the key yet."""
    first, second = RotatingReplica(store), RotatingReplica(store)
    first.cloud.secrets = second.cloud.secrets = None
    if of_a_secret:
        azure = AzureConfig("", "", "dev", storage_account="one")
        draft = replace(make_secret(SECRET), auth_method="account-key", azure=azure, secret_fields=("account_key",))
        await second.repository.create_secret(draft, AccountKey(key))
    else:
        await second.connector_admin.create(by_account_key(NAME, "one", key), created_by="key:ops")
    await first.repository.load()
    await first.repository.credentials_read()
    first.repository._credentials._known.clear()
    return first, second


@pytest.mark.parametrize("of_a_secret", [False, True], ids=["connector", "secret"])
async def test_where_memory_is_behind_the_key_of_now_is_told(of_a_secret: bool) -> None:
    """Taken for something without a key, it would not count, and Azure would make anew what it is in use with."""
    store, keys = Store(), [new_key() for _ in range(3)]
    first, store.others = await _two(store, keys[0], of_a_secret=of_a_secret)
    there = first.memory.secrets[SECRET] if of_a_secret else first.memory.connectors[NAME]
    store.happens = [key.reveal() for key in keys[1:]]
    assert await first.rotating.objects.key_of(there) == keys[2]


async def test_what_changes_all_the_time_is_not_guessed() -> None:
    """Whoever asked may try again; nothing is said of it that was so a moment ago."""
    store = Store()
    first, store.others = await _two(store, new_key(), of_a_secret=False)
    store.happens = [new_key().reveal() for _ in range(20)]
    with pytest.raises(BrokerError) as caught:
        await first.rotating.objects.key_of(first.memory.connectors[NAME])
    assert caught.value.reason is Reason.CONFLICT


@pytest.mark.parametrize("of_a_secret", [False, True], ids=["connector", "secret"])
async def test_what_vault_lost_has_no_key(of_a_secret: bool) -> None:
    """It stays as it is until somebody gives it another: until then it works for nobody, and holds nothing up."""
    store = Store()
    first, second = await _two(store, new_key(), of_a_secret=of_a_secret)
    there = first.memory.secrets[SECRET] if of_a_secret else first.memory.connectors[NAME]
    path = f"shared-credentials/{there.uid}" if of_a_secret else f"credentials/{NAME}"
    await store.destroy(path, [1])
    assert await first.rotating.objects.key_of(there) is None
    await second.repository.refresh()
    if not of_a_secret:
        await second.repository.delete_connector(NAME, "key:ops")
        assert await first.rotating.objects.key_of(there) is None, "it is gone"


async def test_with_vault_away_nobody_can_tell() -> None:
    """That is said, and not that there is no key."""
    store = Store()
    first, _ = await _two(store, new_key(), of_a_secret=False)
    store.fail_with = BrokerError(Reason.VAULT_UNAVAILABLE, "no answer", {"cause": "timeout"})
    with pytest.raises(BrokerError) as caught:
        await first.rotating.objects.key_of(first.memory.connectors[NAME])
    assert caught.value.reason is Reason.VAULT_UNAVAILABLE
