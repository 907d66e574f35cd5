"""Admits, rotates and revokes API keys, and makes the very first one."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from valetkey_broker.errors import admin_key_exists
from valetkey_broker.model import (
    ApiKey,
    EarlierDigest,
    InvalidFieldError,
    Role,
    Secret,
    api_key_digest,
    check_name,
    new_api_key,
)
from valetkey_broker.ports import Clock
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

MAX_LIFE = timedelta(days=366)
BOOTSTRAP = "bootstrap"
"""Who makes the first admin key: nobody that could be authenticated."""
_SHA256_BYTES = 32
# Who rotates more often than overlaps end has something else to mend.
_MOST_EARLIER = 4


class ApiKeyAdmin:
    """The use cases of ApiKeyService."""

    def __init__(self, repository: StateRepository, memory: Memory, clock: Clock) -> None:
        self._repository = repository
        self._memory = memory
        self._clock = clock

    async def create(
        self,
        *,
        name: str,
        digest: bytes,
        roles: Iterable[Role],
        expires_at: datetime,
        created_by: str,
    ) -> ApiKey:
        """Stores a key of which only the hash is known; without roles, its holder lives by grants.

        Raises InvalidFieldError or API_KEY_EXISTS.
        """
        now = datetime.fromtimestamp(self._clock(), UTC)
        key = ApiKey(
            name=check_name("name", name),
            uid=str(uuid.uuid4()),
            digest=digest,
            roles=frozenset(roles),
            expires_at=expires_at,
            created_at=now,
            created_by=created_by,
        )
        _check_digest(digest)
        self._check_new(digest)
        _check_end(expires_at, now)
        await self._repository.create_api_key(key)
        return key

    async def rotate(
        self, *, name: str, digest: bytes, overlap: timedelta, expires_at: datetime | None, rotated_by: str
    ) -> ApiKey:
        """Gives a key another secret, of which only the hash is known; what it had before ends after `overlap`.

        Nothing of what it had before outlives the overlap of the last rotation, nor its own end. Without `expires_at`
        it lives as long again as it was given last. The same hash again changes nothing. Raises InvalidFieldError or
        API_KEY_NOT_FOUND.
        """
        now = datetime.fromtimestamp(self._clock(), UTC)
        check_name("name", name)
        _check_digest(digest)
        if not timedelta() <= overlap <= MAX_LIFE:
            raise InvalidFieldError("overlap", f"is {overlap.total_seconds():.0f}s", f"0s to {MAX_LIFE.days} days")

        def rotated(before: ApiKey) -> ApiKey | None:
            if digest == before.digest:
                return None
            ends = now + overlap
            held = (EarlierDigest(before.digest, before.expires_at), *before.earlier)
            good = tuple(replace(each, ends_at=min(each.ends_at, ends)) for each in held if each.ends_at > now < ends)
            if len(good) > _MOST_EARLIER:
                raise InvalidFieldError(
                    "overlap",
                    f"would leave {name} with {len(good)} secrets of before that are good",
                    f"at most {_MOST_EARLIER}: rotate it once earlier ones have ended, or with an overlap of 0s",
                )
            self._check_new(digest)
            end = expires_at or now + min(before.life, MAX_LIFE)
            _check_end(end, now)
            return replace(
                before,
                digest=digest,
                expires_at=end,
                earlier=good,
                rotated_at=now,
                rotated_by=rotated_by,
            )

        return await self._repository.rotate_api_key(name, rotated)

    def all(self) -> Sequence[ApiKey]:
        """Returns all keys by name."""
        return [known.key for _, known in sorted(self._memory.keys_by_name.items())]

    async def revoke(self, name: str, *, revoked_by: str) -> None:
        """Revokes a key for good. Raises API_KEY_NOT_FOUND."""
        await self._repository.revoke_api_key(check_name("name", name), revoked_by)

    async def bootstrap(self, name: str, life: timedelta) -> tuple[ApiKey, Secret]:
        """Makes the first admin key and returns it with its secret, which is kept nowhere.

        Raises API_KEY_EXISTS while there is an admin key that has not expired: from then on, admins make keys.
        """
        now = datetime.fromtimestamp(self._clock(), UTC)
        for key in self.all():
            if Role.ADMIN in key.roles and key.expires_at > now:
                raise admin_key_exists(key.name, key.expires_at.isoformat(timespec="minutes"))
        secret = new_api_key()
        digest = api_key_digest(secret.reveal())
        if digest is None:
            raise AssertionError("a new key breaks the form of a key")
        created = await self.create(
            name=name,
            digest=digest,
            roles=[Role.ADMIN],
            expires_at=now + life,
            created_by=BOOTSTRAP,
        )
        return created, secret

    def _check_new(self, digest: bytes) -> None:
        if digest in self._memory.keys_by_digest:
            raise InvalidFieldError("key_sha256", "belongs to another key already", "a newly made key")


def _check_digest(digest: bytes) -> None:
    if len(digest) != _SHA256_BYTES:
        raise InvalidFieldError("key_sha256", f"is {len(digest)} bytes long", "the 32 bytes of a SHA-256")


def _check_end(expires_at: datetime, now: datetime) -> None:
    if not now < expires_at <= now + MAX_LIFE:
        raise InvalidFieldError(
            "expire_time", f"is {expires_at.isoformat()}", f"a time in the next {MAX_LIFE.days} days"
        )
