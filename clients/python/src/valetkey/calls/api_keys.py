"""The calls of ApiKeyService: keys of callers, of which only the hash is sent."""

from collections.abc import Iterable
from datetime import datetime

from valetkey import convert, values
from valetkey.calls.base import PAGE_SIZE, Asking, ask, several
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
        roles=[convert.to_number(convert.ROLE, word, "roles") for word in several(roles, "roles", '("viewer",)')],
        expire_time=convert.to_timestamp(expire_time, "expire_time"),
        key_sha256=key_sha256,
    )
    answer = yield from ask(request, pb.CreateApiKeyResponse)
    return convert.api_key(answer.api_key)


def list_api_keys() -> Asking[list[values.ApiKey]]:
    """Returns all API keys, by name."""
    found: list[values.ApiKey] = []
    request = pb.ListApiKeysRequest(page_size=PAGE_SIZE)
    while True:
        answer = yield from ask(request, pb.ListApiKeysResponse, repeatable=True)
        found += map(convert.api_key, answer.api_keys)
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def revoke_api_key(name: str) -> Asking[None]:
    """Revokes an API key for good."""
    yield from ask(pb.RevokeApiKeyRequest(name=name), pb.RevokeApiKeyResponse)
