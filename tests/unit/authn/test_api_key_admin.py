"""ApiKeyAdmin: what can become a key, and the one way to the first of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.core import NOW, FakeClock, Replica, make_api_key
from valetkey_broker.authn.api_key_admin import MAX_LIFE, ApiKeyAdmin
from valetkey_broker.authn.api_key_verifier import ApiKeyVerifier
from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import ApiKey, InvalidFieldError, Role, api_key_digest

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


_OLD, _NEW, _NEWEST = ("vk_" + letter * 43 for letter in "ONX")


class Rotating(Admin):
    """With the key `trainer`, whose secret is `_OLD`, and that lives for a day."""

    def __init__(self) -> None:
        super().__init__()
        self.verifier = ApiKeyVerifier(self.replica.memory, self.clock, RoleBindings())

    async def rotate(self, secret: str = _NEW, overlap: int = 3600, **values: Any) -> ApiKey:
        digest = api_key_digest(secret)
        assert digest is not None
        good = {"name": "trainer", "digest": digest, "expires_at": None, "rotated_by": "key:admin"}
        return await self.keys.rotate(**{**good, "overlap": timedelta(seconds=overlap), **values})

    def end_of(self, secret: str) -> float | str:
        """Returns when a secret ends, in seconds from the start, or why it is refused."""
        try:
            return self.verifier.verify(secret).expires - NOW
        except BrokerError as error:
            return error.reason.name


@pytest.fixture
async def rotating() -> Rotating:
    admin = Rotating()
    await admin.create(digest=api_key_digest(_OLD), roles=[Role.VIEWER])
    return admin


async def test_both_secrets_of_a_rotated_key_are_good_for_the_overlap(rotating: Rotating) -> None:
    """Nobody notices: same principal and roles with either, until the old one ends by itself, to the second."""
    old = rotating.verifier.verify(_OLD)
    rotating.clock.now += 600
    rotated = await rotating.rotate()
    assert (rotated.rotated_at, rotated.rotated_by) == (_NOW + timedelta(seconds=600), "key:admin")
    assert rotated.expires_at == _NOW + timedelta(seconds=600, days=1), "as long again as it was given"
    assert (rotating.end_of(_OLD), rotating.end_of(_NEW)) == (4200, 600 + 86400)
    new = rotating.verifier.verify(_NEW)
    assert (new.name, new.roles, new.attributes) == (old.name, old.roles, old.attributes)
    assert rotated.overlap_ends(_NOW) == _NOW + timedelta(seconds=4200)
    rotating.clock.now = NOW + 4199
    assert rotating.verifier.still_valid(old)
    rotating.clock.now = NOW + 4200
    assert (rotating.end_of(_OLD), rotating.end_of(_NEW)) == ("CREDENTIALS_EXPIRED", 600 + 86400)
    assert not rotating.verifier.still_valid(old)
    assert rotated.overlap_ends(_NOW + timedelta(seconds=4200)) is None


async def test_an_overlap_of_nothing_ends_the_old_secret_now(rotating: Rotating) -> None:
    """A key that leaked is refused at once; its holder gets a new one under the same name."""
    old = rotating.verifier.verify(_OLD)
    await rotating.rotate(overlap=0)
    assert rotating.end_of(_OLD) == "CREDENTIALS_INVALID"
    assert not rotating.verifier.still_valid(old)
    assert rotating.end_of(_NEW) == 86400


async def test_rotating_again_during_an_overlap(rotating: Rotating) -> None:
    """Nothing of before outlives the last overlap, nor lives longer for it; with none, only the newest is left."""
    await rotating.rotate(overlap=600)
    await rotating.rotate(_NEWEST, overlap=3600)
    assert [rotating.end_of(each) for each in (_OLD, _NEW, _NEWEST)] == [600, 3600, 86400]
    await rotating.rotate("vk_" + "Y" * 43, overlap=60)
    assert [rotating.end_of(each) for each in (_OLD, _NEW, _NEWEST)] == [60, 60, 60]
    await rotating.rotate("vk_" + "Z" * 43, overlap=0)
    assert {rotating.end_of(each) for each in (_OLD, _NEW, _NEWEST)} == {"CREDENTIALS_INVALID"}
    assert list(rotating.replica.memory.keys_by_digest) == [api_key_digest("vk_" + "Z" * 43)]


async def test_the_same_secret_again_changes_nothing(rotating: Rotating) -> None:
    """Whoever got no answer asks again, and the old secret gets no second overlap."""
    first = await rotating.rotate()
    rotating.clock.now += 600
    writes = rotating.replica.store.calls["write"]
    assert await rotating.rotate(overlap=9000) == first
    assert rotating.end_of(_OLD) == 3600
    assert await rotating.replica.store.newest("api-keys/trainer") == 2
    assert rotating.replica.store.calls["write"] <= writes + 1, "at most the news of it"


async def test_an_overlap_ends_with_the_old_secret_at_the_latest(rotating: Rotating) -> None:
    """Rotating gives a secret no longer life than it had; what is over is not brought back."""
    await rotating.rotate(overlap=7 * 86400, expires_at=_NOW + timedelta(days=30))
    assert (rotating.end_of(_OLD), rotating.end_of(_NEW)) == (86400, 30 * 86400)
    rotating.clock.now = NOW + 31 * 86400
    revived = await rotating.rotate(_NEWEST)
    assert revived.earlier == ()
    assert rotating.end_of(_NEWEST) == (31 + 30) * 86400
    assert rotating.end_of(_NEW) == "CREDENTIALS_INVALID"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"overlap": -1}, "overlap"),
        ({"overlap": 366 * 86400 + 1}, "overlap"),
        ({"digest": b"d" * 31}, "key_sha256"),
        ({"digest": api_key_digest("vk_" + "E" * 43)}, "key_sha256"),
        ({"expires_at": _NOW}, "expire_time"),
        ({"expires_at": _NOW + MAX_LIFE + timedelta(seconds=1)}, "expire_time"),
        ({"name": "../trainer"}, "name"),
    ],
)
async def test_what_is_no_rotation(rotating: Rotating, values: dict[str, Any], field: str) -> None:
    """Each rule names its field, and the key stays as it is; another key's secret, too, is refused."""
    await rotating.create(name="other", digest=api_key_digest("vk_" + "E" * 43))
    with pytest.raises(InvalidFieldError) as caught:
        await rotating.rotate(**values)
    assert caught.value.field == field
    assert rotating.end_of(_OLD) == 86400


async def test_too_many_secrets_at_once_and_a_secret_of_before(rotating: Rotating) -> None:
    """The document stays small, and a secret that was replaced does not come back."""
    for letter in "ABCD":
        await rotating.rotate("vk_" + letter * 43)
    for secret, overlap, field in (
        ("vk_" + "F" * 43, 3600, "overlap"),
        (_OLD, 3600, "overlap"),
        (_OLD, 0, "key_sha256"),
    ):
        with pytest.raises(InvalidFieldError) as caught:
            await rotating.rotate(secret, overlap)
        assert caught.value.field == field
    await rotating.rotate("vk_" + "F" * 43, 0)


async def test_rotating_what_is_not_there(rotating: Rotating) -> None:
    """A revoked key stays revoked, with every secret that it had."""
    await rotating.rotate()
    await rotating.keys.revoke("trainer", revoked_by="key:admin")
    assert {rotating.end_of(each) for each in (_OLD, _NEW)} == {"CREDENTIALS_INVALID"}
    with pytest.raises(BrokerError) as caught:
        await rotating.rotate(_NEWEST)
    assert caught.value.reason is Reason.API_KEY_NOT_FOUND
    assert rotating.replica.memory.keys_by_digest == {}
