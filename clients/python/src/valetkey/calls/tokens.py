"""The calls of TokenService: SAS tokens, one, many, and over and over."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from valetkey import convert, values
from valetkey.calls.base import Interruption
from valetkey.calls.streams import StreamCalls
from valetkey.errors import ValetKeyError
from valetkey.v1 import token_service_pb2 as token_pb
from valetkey.v1.token_service_pb2_grpc import TokenServiceStub


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What one of several tokens is asked for with, as the arguments of `Client.issue_token`."""

    resource: str
    permissions: Iterable[str]
    ttl: timedelta | None = None
    connector: str | None = None
    source_ip: str | None = None
    purpose: str | None = None


class TokenCalls(StreamCalls):
    """Asks for tokens."""

    @cached_property
    def _tokens(self) -> TokenServiceStub:
        return TokenServiceStub(self._channel)

    def issue_token(
        self,
        resource: str,
        permissions: Iterable[str],
        *,
        ttl: timedelta | None = None,
        connector: str | None = None,
        source_ip: str | None = None,
        purpose: str | None = None,
    ) -> values.Token:
        """Returns a SAS token for one resource; a grant must allow it.

        `resource` is a container, `az://CONTAINER/BLOB` or, where the account has a hierarchical namespace,
        `az://CONTAINER/DIRECTORY/` with a slash at its end. `permissions` are of read, add, create, write, delete and,
        except for one blob, list; for blobs and directories there, also move and execute. `ttl` left out is the
        broker's default, 15 minutes; `connector` may be left out where only one of the caller's serves the resource;
        `source_ip` binds the token to an IPv4 address or range; `purpose` is kept in the ledger, at most
        200 printable characters.
        """
        request = _token_request(resource, permissions, ttl, connector, source_ip, purpose)
        return convert.token(self._call(self._tokens.IssueToken, request, repeatable=True))

    def issue_tokens(self, requests: Iterable[TokenRequest]) -> list[values.Token | ValetKeyError]:
        """Returns what became of each of up to 1,000 requests, in order: its token, or why there is none.

        Each is authorised, recorded and counted as one call of `issue_token`; those that are refused, which are
        returned and not raised, hide nothing of the others. Raises a ValetKeyError where the call as a whole fails.
        """
        request = token_pb.IssueTokensRequest(
            requests=[
                _token_request(each.resource, each.permissions, each.ttl, each.connector, each.source_ip, each.purpose)
                for each in requests
            ]
        )
        answer = self._call(self._tokens.IssueTokens, request, repeatable=True)
        return [convert.token_or_error(result) for result in answer.results]

    def watch_token(
        self,
        resource: str,
        permissions: Iterable[str],
        *,
        ttl: timedelta | None = None,
        connector: str | None = None,
        source_ip: str | None = None,
        purpose: str | None = None,
        on_interruption: Interruption | None = None,
    ) -> Generator[values.Token, None, None]:
        """Yields a SAS token at once and a fresh one ahead of each expiry; `ttl` is each token's life.

        The call is made when the first token is asked for, and has no deadline. Closing the generator ends it.
        A restart of the broker, a cut of the network and the end of a token or certificate that was renewed in its
        file are got over: a new stream begins, with a token. Such are tried for as long as the last token lives, and
        at least 10 s; `on_interruption` is called with the error of each. Raises WatchEndedError where the broker ends
        the stream for another reason, and the last interruption's error where it lasted too long.
        """
        request = _token_request(resource, permissions, ttl, connector, source_ip, purpose)
        return self._watch(self._tokens.WatchToken, request, on_interruption)


def _token_request(
    resource: str,
    permissions: Iterable[str],
    ttl: timedelta | None,
    connector: str | None,
    source_ip: str | None,
    purpose: str | None,
) -> token_pb.IssueTokenRequest:
    return token_pb.IssueTokenRequest(
        resource_id=resource,
        permissions=convert.to_permissions(permissions),
        ttl=None if ttl is None else convert.to_duration(ttl, "ttl"),
        connector=connector or "",
        source_ip=source_ip or "",
        purpose=purpose or "",
    )
