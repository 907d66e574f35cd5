"""ApiKeyAdmin: what can become a key, and the one way to the first of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.core import NOW, FakeClock, Replica, make_api_key
from valetkey_broker.authn.api_key_admin import MAX_LIFE, ApiKeyAdmin
from valetkey_broker.authn.api_key_verifier import ApiKeyVerifier
from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import InvalidFieldError, Role

_NOW = datetime.fromtimestamp(NOW, UTC)
_DIGEST = b"d" * 32


class Admin:
    """ApiKeyAdmin on a replica of its own."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.replica = Replica()
        self.keys = ApiKeyAdmin(self.replica.repository, self.replica.memory, self.clock)

    async def create(self, **values: Any) -> Any:
        good: dict[str, Any] = {
            "name": "trainer",
            "digest": _DIGEST,
            "roles": [],
            "expires_at": _NOW + timedelta(days=1),
            "created_by": "key:admin",
        }
        return await self.keys.create(**{**good, **values})


@pytest.fixture
def admin() -> Admin:
    """Has no keys yet."""
    return Admin()


async def test_a_created_key_is_listed_and_known(admin: Admin) -> None:
    """A key that was admitted works at once, and remembers when and by whom."""
    created = await admin.create()
    assert list(admin.keys.all()) == [created]
    assert admin.replica.memory.keys_by_digest[_DIGEST].key == created
    assert (created.created_at, created.created_by) == (_NOW, "key:admin")


async def test_keys_are_listed_by_name(admin: Admin) -> None:
    """Pages of a listing need a steady order."""
    for number, name in enumerate("cab"):
        await admin.create(name=name, digest=bytes([number]) * 32)
    assert [key.name for key in admin.keys.all()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "Trainer"}, "name"),
        ({"name": "../generation"}, "name"),
        ({"name": ""}, "name"),
        ({"digest": b""}, "key_sha256"),
        ({"digest": b"d" * 31}, "key_sha256"),
        ({"digest": b"d" * 64}, "key_sha256"),
        ({"expires_at": _NOW}, "expire_time"),
        ({"expires_at": _NOW - timedelta(seconds=1)}, "expire_time"),
        ({"expires_at": _NOW + MAX_LIFE + timedelta(seconds=1)}, "expire_time"),
    ],
)
async def test_what_cannot_be_a_key(admin: Admin, values: dict[str, Any], field: str) -> None:
    """Each rule names its field, and nothing is written."""
    with pytest.raises(InvalidFieldError) as caught:
        await admin.create(**values)
    assert caught.value.field == field
    assert admin.replica.store.calls["write"] == 0


@pytest.mark.parametrize(
    "values",
    [
        {"expires_at": _NOW + MAX_LIFE},
        {"expires_at": _NOW + timedelta(seconds=1)},
        {"roles": list(Role)},
        {"roles": []},
    ],
)
async def test_what_can_be_a_key(admin: Admin, values: dict[str, Any]) -> None:
    """The edges of the rules are inside."""
    assert await admin.create(**values)


async def test_a_hash_belongs_to_one_key(admin: Admin) -> None:
    """Two names for one secret would make revoking one of them worthless."""
    await admin.create()
    with pytest.raises(InvalidFieldError, match="another key already"):
        await admin.create(name="other")


async def test_a_taken_name_is_refused(admin: Admin) -> None:
    """Creating a key never replaces another."""
    await admin.create()
    with pytest.raises(BrokerError) as caught:
        await admin.create(digest=b"e" * 32)
    assert caught.value.reason is Reason.API_KEY_EXISTS


async def test_revoking(admin: Admin) -> None:
    """A revoked key is gone; a name that cannot exist is told apart from one that does not."""
    await admin.create()
    await admin.keys.revoke("trainer", revoked_by="key:admin")
    assert list(admin.keys.all()) == []
    with pytest.raises(BrokerError) as caught:
        await admin.keys.revoke("trainer", revoked_by="key:admin")
    assert caught.value.reason is Reason.API_KEY_NOT_FOUND
    with pytest.raises(InvalidFieldError):
        await admin.keys.revoke("../trainer", revoked_by="key:admin")


async def test_bootstrap_makes_a_working_admin_key_once(admin: Admin) -> None:
    """The first key works, is an admin's, is kept nowhere in clear, and a second bootstrap is refused."""
    key, secret = await admin.keys.bootstrap("admin", timedelta(days=30))
    assert set(key.roles) == {Role.ADMIN}
    assert key.expires_at == _NOW + timedelta(days=30)
    principal = ApiKeyVerifier(admin.replica.memory, admin.clock, RoleBindings()).verify(secret.reveal())
    assert principal.name == "key:admin"
    assert secret.reveal() not in str(admin.replica.store._versions)
    assert secret.reveal() not in repr((key, secret))
    for name in ("admin", "another"):
        with pytest.raises(BrokerError, match="exists already") as caught:
            await admin.keys.bootstrap(name, timedelta(days=30))
        assert caught.value.reason is Reason.API_KEY_EXISTS
    assert [each.name for each in admin.keys.all()] == ["admin"]


async def test_bootstrap_again_when_every_admin_key_has_expired(admin: Admin) -> None:
    """Nobody is locked out for ever, and other keys do not stand in the way."""
    await admin.create()
    await admin.keys.bootstrap("admin", timedelta(days=30))
    admin.clock.now += timedelta(days=30).total_seconds()
    key, _ = await admin.keys.bootstrap("admin-2", timedelta(days=30))
    assert key.name == "admin-2"


async def test_two_bootstraps_give_different_secrets() -> None:
    """Keys are random."""
    (_, one), (_, other) = [await Admin().keys.bootstrap("admin", timedelta(days=1)) for _ in range(2)]
    assert one != other


async def test_keys_of_a_past_life_are_listed_too(admin: Admin) -> None:
    """An expired key stays visible until it is revoked: admins see what there was."""
    await admin.replica.repository.create_api_key(make_api_key(expires=NOW - 1))
    assert [key.name for key in admin.keys.all()] == ["trainer"]
