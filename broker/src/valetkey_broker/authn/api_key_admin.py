"""Admits and revokes API keys, and makes the very first one."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from valetkey_broker.errors import admin_key_exists
from valetkey_broker.model import ApiKey, InvalidFieldError, Role, Secret, api_key_digest, check_name, new_api_key
from valetkey_broker.ports import Clock
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository

MAX_LIFE = timedelta(days=366)
BOOTSTRAP = "bootstrap"
"""Who makes the first admin key: nobody that could be authenticated."""
_SHA256_BYTES = 32


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
        if len(digest) != _SHA256_BYTES:
            raise InvalidFieldError("key_sha256", f"is {len(digest)} bytes long", "the 32 bytes of a SHA-256")
        if digest in self._memory.keys_by_digest:
            raise InvalidFieldError("key_sha256", "belongs to another key already", "a newly made key")
        if not now < expires_at <= now + MAX_LIFE:
            raise InvalidFieldError(
                "expire_time", f"is {expires_at.isoformat()}", f"a time in the next {MAX_LIFE.days} days"
            )
        await self._repository.create_api_key(key)
        return key

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
