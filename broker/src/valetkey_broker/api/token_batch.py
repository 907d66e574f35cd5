"""Many tokens in one call: each is issued, recorded and refused as if it had been asked for by itself."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from valetkey.v1 import token_service_pb2 as pb
from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.concurrency.gather_outcomes import work_off
from valetkey_broker.errors import BrokerError
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import InvalidFieldError, Lease
from valetkey_broker.observability.redaction import frames
from valetkey_broker.rpc.current_call import current_call
from valetkey_broker.rpc.error_status import as_broker_error, short_status

MOST_REQUESTS = 1000
"""So many fit into one answer, whatever they ask for, and whatever becomes of them: a test holds that."""
# So many messages are read or written before others get their turn.
_MESSAGES_AT_ONCE = 128
_RECORDED_AT_ONCE = 64


class TokenBatch:
    """The requests of one call."""

    def __init__(
        self,
        parse: Callable[[pb.IssueTokenRequest], TokenRequest],
        issue: Callable[[Sequence[TokenRequest]], Awaitable[Sequence[Lease | Exception]]],
        fill: Callable[[pb.IssueTokenResponse, Lease, Timestamp], None],
        refused: Callable[[BrokerError, pb.IssueTokenRequest], Awaitable[None]],
        now: Callable[[], Timestamp],
    ) -> None:
        """`parse` raises InvalidFieldError; `issue` says of each why not; `refused` puts on record what it said."""
        self._parse = parse
        self._issue = issue
        self._fill = fill
        self._refused = refused
        self._now = now
        self._failures: Counter[str] = Counter()
        self._log = structlog.get_logger()

    async def answer(self, requests: Sequence[pb.IssueTokenRequest]) -> pb.IssueTokensResponse:
        """Returns one result each, in order. Raises InvalidFieldError for none, or more than there may be."""
        if not 1 <= len(requests) <= MOST_REQUESTS:
            raise InvalidFieldError("requests", f"holds {len(requests)}", f"1 to {MOST_REQUESTS} in one call")
        asked = await self._parsed(requests)
        wanted = [each for each in asked if isinstance(each, TokenRequest)]
        issued = iter(await self._issue(wanted))
        outcomes = [next(issued) if isinstance(each, TokenRequest) else each for each in asked]
        response = pb.IssueTokensResponse()
        failures: list[tuple[Exception, pb.IssueTokenRequest, pb.IssueTokenError]] = []
        async for some in slices(zip(requests, outcomes, strict=True), _MESSAGES_AT_ONCE):
            now = self._now()
            for request, outcome in some:
                result = response.results.add()
                if isinstance(outcome, Lease):
                    self._fill(result.token, outcome, now)
                else:
                    failures.append((outcome, request, result.error))
        await work_off(failures, self._tell, at_once=_RECORDED_AT_ONCE)
        if self._failures:
            self._log.info("some tokens of a call were not issued", reasons=dict(self._failures), of=len(requests))
        return response

    async def _parsed(self, requests: Sequence[pb.IssueTokenRequest]) -> Sequence[TokenRequest | Exception]:
        """Returns what each request means; those that are equal share what comes of it, from here on."""
        known: dict[bytes, TokenRequest | Exception] = {}
        parsed = []
        async for some in slices(requests, _MESSAGES_AT_ONCE):
            for request in some:
                raw = request.SerializeToString()
                meant = known.get(raw)
                if meant is None:
                    try:
                        meant = self._parse(request)
                    except Exception as error:  # noqa: BLE001 (as at the border of a call: it must not hide the others)
                        meant = error
                    known[raw] = meant
                parsed.append(meant)
        return parsed

    async def _tell(self, failure: tuple[Exception, pb.IssueTokenRequest, pb.IssueTokenError]) -> None:
        error, request, told = failure
        call = current_call.get()
        known = as_broker_error(error, call.method)
        self._failures[known.reason.name if known is not None else "INTERNAL"] += 1
        if known is None:
            self._log.error("unexpected error", method=call.method, frames=frames(error))
        else:
            await self._refused(known, request)
        code, told.message, detail = short_status(known, call.request_id, call.principal)
        told.code = code.value[0]
        told.detail.CopyFrom(detail)
