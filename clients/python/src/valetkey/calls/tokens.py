"""The calls of TokenService: SAS tokens, one or many; `streams` has those that come over and over."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from valetkey import enums_and_times, token_messages
from valetkey.calls.base import Asking, ask
from valetkey.errors import ValetKeyError
from valetkey.token_values import Token
from valetkey.v1 import token_service_pb2 as token_pb


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What one of several tokens is asked for with, as the arguments of `Client.issue_token`."""

    resource: str
    permissions: Iterable[str]
    ttl: timedelta | None = None
    connector: str | None = None
    source_ip: str | None = None
    purpose: str | None = None


def issue_token(
    resource: str,
    permissions: Iterable[str],
    *,
    ttl: timedelta | None = None,
    connector: str | None = None,
    source_ip: str | None = None,
    purpose: str | None = None,
) -> Asking[Token]:
    """Returns a SAS token for one resource; a grant must allow it.

    `resource` is a container, `az://CONTAINER/BLOB` or, where the account has a hierarchical namespace,
    `az://CONTAINER/DIRECTORY/` with a slash at its end. `permissions` are of read, add, create, write, delete and,
    except for one blob, list; for blobs and directories there, also move and execute. `ttl` left out is the
    broker's default, 15 minutes; `connector` may be left out where only one of the caller's serves the resource;
    `source_ip` binds the token to an IPv4 address or range; `purpose` is kept in the ledger, at most
    200 printable characters.
    """
    request = token_request(resource, permissions, ttl, connector, source_ip, purpose)
    return token_messages.token((yield from ask(request, token_pb.IssueTokenResponse, repeatable=True)))


def issue_tokens(requests: Iterable[TokenRequest]) -> Asking[list[Token | ValetKeyError]]:
    """Returns what became of each of up to 1,000 requests, in order: its token, or why there is none.

    Each is authorised, recorded and counted as one call of `issue_token`; those that are refused, which are
    returned and not raised, hide nothing of the others. Raises a ValetKeyError where the call as a whole fails.
    """
    request = token_pb.IssueTokensRequest(
        requests=[
            token_request(each.resource, each.permissions, each.ttl, each.connector, each.source_ip, each.purpose)
            for each in requests
        ]
    )
    answer = yield from ask(request, token_pb.IssueTokensResponse, repeatable=True)
    return [token_messages.token_or_error(result) for result in answer.results]


def token_request(
    resource: str,
    permissions: Iterable[str],
    ttl: timedelta | None,
    connector: str | None,
    source_ip: str | None,
    purpose: str | None,
) -> token_pb.IssueTokenRequest:
    return token_pb.IssueTokenRequest(
        resource_id=resource,
        permissions=enums_and_times.to_permissions(permissions),
        ttl=None if ttl is None else enums_and_times.to_duration(ttl, "ttl"),
        connector=connector or "",
        source_ip=source_ip or "",
        purpose=purpose or "",
    )
