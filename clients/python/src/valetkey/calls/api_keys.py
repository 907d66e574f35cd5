"""The calls of ApiKeyService: keys of callers, of which only the hash is sent."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from valetkey import enums_and_times, values
from valetkey.calls.base import Asking, ask, ask_pages, several
from valetkey.v1 import api_key_service_pb2 as pb


def create_api_key(
    name: str, *, roles: Iterable[str] = (), key_sha256: bytes, expire_time: datetime
) -> Asking[values.ApiKey]:
    """Admits a key made with `generate_api_key`, of which only `api_key_sha256` is sent.

    `roles` are of admin, operator, viewer, auditor; a stack component has none and lives by grants to
    `key:NAME`.
    """
    request = pb.CreateApiKeyRequest(
        name=name,
        roles=[
            enums_and_times.to_number(enums_and_times.ROLE, word, "roles")
            for word in several(roles, "roles", '("viewer",)')
        ],
        expire_time=enums_and_times.to_timestamp(expire_time, "expire_time"),
        key_sha256=key_sha256,
    )
    answer = yield from ask(request, pb.CreateApiKeyResponse)
    return _api_key(answer.api_key)


def list_api_keys() -> Asking[list[values.ApiKey]]:
    """Returns all API keys, by name."""
    request = pb.ListApiKeysRequest()
    return (yield from ask_pages(request, pb.ListApiKeysResponse, lambda page: map(_api_key, page.api_keys)))


def rotate_api_key(
    name: str, *, key_sha256: bytes, overlap: timedelta, expire_time: datetime | None = None
) -> Asking[values.ApiKey]:
    """Gives a key another secret, made with `generate_api_key`; name, roles, grants and principal stay.

    What it was before stays good for `overlap`, zero ends it now. Without `expire_time` the key lives as long again
    as it was given last. The same hash again changes nothing, so the call may be made again.
    """
    request = pb.RotateApiKeyRequest(
        name=name, key_sha256=key_sha256, overlap=enums_and_times.to_duration(overlap, "overlap")
    )
    if expire_time is not None:
        request.expire_time.CopyFrom(enums_and_times.to_timestamp(expire_time, "expire_time"))
    answer = yield from ask(request, pb.RotateApiKeyResponse, repeatable=True)
    return _api_key(answer.api_key)


def revoke_api_key(name: str) -> Asking[None]:
    """Revokes an API key for good."""
    yield from ask(pb.RevokeApiKeyRequest(name=name), pb.RevokeApiKeyResponse)


def _api_key(message: pb.ApiKey) -> values.ApiKey:
    return values.ApiKey(
        name=message.name,
        roles=tuple(enums_and_times.to_word(enums_and_times.ROLE, number) for number in message.roles),
        expire_time=message.expire_time.ToDatetime(UTC),
        uid=message.meta.uid,
        create_time=message.meta.create_time.ToDatetime(UTC),
        created_by=message.meta.created_by,
        overlap_end_time=enums_and_times.moment(message, "overlap_end_time"),
        rotate_time=enums_and_times.moment(message, "rotate_time"),
        rotated_by=message.rotated_by,
    )
