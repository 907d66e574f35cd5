"""Many tokens in one call: each is issued, recorded and refused as if it had been asked for by itself."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import structlog

from valetkey.v1 import token_service_pb2 as pb
from valetkey_broker.concurrency.gather_outcomes import outcomes
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import InvalidFieldError
from valetkey_broker.observability.redaction import frames
from valetkey_broker.rpc.current_call import current_call
from valetkey_broker.rpc.error_status import as_broker_error, short_status

MOST_REQUESTS = 1000
"""So many fit into one answer, whatever they ask for, and whatever becomes of them: a test holds that."""
# Enough for the ledger to write many in one transaction, and few enough that other callers get their turn in between.
_AT_ONCE = 64


class TokenBatch:
    """The requests of one call."""

    def __init__(
        self,
        issue: Callable[[pb.IssueTokenRequest, pb.IssueTokenResponse], Awaitable[None]],
        refused: Callable[[BrokerError, pb.IssueTokenRequest], Awaitable[None]],
    ) -> None:
        """`issue` fills in one answer, or raises; `refused` puts on record what it raised."""
        self._issue = issue
        self._refused = refused
        self._failures: Counter[str] = Counter()
        self._log = structlog.get_logger()

    async def results(self, requests: Sequence[pb.IssueTokenRequest]) -> list[pb.IssueTokenResult]:
        """Returns one result each, in order. Raises InvalidFieldError for none, or more than there may be."""
        if not 1 <= len(requests) <= MOST_REQUESTS:
            raise InvalidFieldError("requests", f"holds {len(requests)}", f"1 to {MOST_REQUESTS} in one call")
        found = await outcomes(requests, self._result, at_once=_AT_ONCE)
        if self._failures:
            self._log.info("some tokens of a call were not issued", reasons=dict(self._failures), of=len(requests))
        return [result for _, result in found if isinstance(result, pb.IssueTokenResult)]

    async def _result(self, request: pb.IssueTokenRequest) -> pb.IssueTokenResult:
        result = pb.IssueTokenResult()
        try:
            await self._issue(request, result.token)
        except Exception as error:  # noqa: BLE001 (as at the border of a call: what one raises must not hide the others)
            await self._tell(error, request, result.error)
        return result

    async def _tell(self, error: Exception, request: pb.IssueTokenRequest, told: pb.IssueTokenError) -> None:
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
