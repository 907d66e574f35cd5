"""Stands before every method: request id, authentication, role, deadline; and behind it: errors, the log line."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import grpc
import grpc.aio
import structlog

from valetkey_broker.errors import BrokerError, Reason, broker_stopping, method_unknown
from valetkey_broker.limits import Throttle
from valetkey_broker.model import InvalidFieldError
from valetkey_broker.observability.logging import request_id_var
from valetkey_broker.observability.redaction import frames
from valetkey_broker.ports import Authenticator
from valetkey_broker.rpc.call import Call, Metadata, current_call, request_id_of
from valetkey_broker.rpc.call_evidence import evidence_of
from valetkey_broker.rpc.call_recorder import Recorder
from valetkey_broker.rpc.deadline import Deadlines
from valetkey_broker.rpc.error_status import as_broker_error, code_of, to_status
from valetkey_broker.rpc.method import FOR_ANYBODY, FOR_NOBODY, Access, Method, Methods

# Handlers of every message type and kind pass through here.
Handler = Any
Context = Any
Behavior = Callable[[Any, Context], Any]

_UNKNOWN = "unknown"
_QUIET_SECONDS = 0.05
_LONGEST_DRAIN_SECONDS = 1.0


class Guard(grpc.GenericRpcHandler):
    """Holds every method of the server, each behind the same guard.

    It takes the server's place in the generated `add_…Servicer_to_server` functions and is then given to the server
    as its one generic handler. An interceptor would be asked at every call, and methods that are registered with the
    server itself cost every call a little for each of them (see docs/performance.md).
    """

    def __init__(
        self,
        *,
        methods: Methods,
        authenticator: Authenticator,
        require_usable: Callable[[], None],
        max_deadline_seconds: float,
        throttle: Throttle,
        recorder: Recorder,
    ) -> None:
        self._methods = methods
        self._authenticator = authenticator
        self._require_usable = require_usable
        self._limit = max_deadline_seconds
        self._deadlines = Deadlines()
        self._throttle = throttle
        self._recorder = recorder
        self._handlers: dict[str, Handler] = {}
        self._ending = False
        self._ended = asyncio.Event()
        self._taken = 0
        self._log = structlog.get_logger()

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Takes the methods of a service."""
        for name, handler in method_handlers.items():
            method = f"/{service_name}/{name}"
            self._handlers[method] = self._wrap(handler, method)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Takes nothing: generated code offers its methods both ways, and these would come unguarded."""

    async def drain(self) -> None:
        """Holds back what is called from now on, and returns as soon as nothing more comes; calls under way go on.

        What gRPC has received and not handed over when the server stops ends as CANCELLED, which nobody tries again.
        Callers that are answered call again, those that are held back do not: so it gets quiet.
        """
        self._ending = True
        loop = asyncio.get_running_loop()
        until, taken = loop.time() + _LONGEST_DRAIN_SECONDS, -1
        while taken != self._taken and loop.time() < until:
            taken = self._taken
            await asyncio.sleep(_QUIET_SECONDS)

    def refuse(self) -> None:
        """Refuses what is held back, and what is still to come. Call it once connections take no new calls."""
        self._ended.set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Returns the guarded handler of the method; a method that does not exist gets one that says so."""
        self._taken += 1
        method = handler_call_details.method
        handler = self._handlers.get(method)
        if handler is not None:
            return handler
        return grpc.stream_stream_rpc_method_handler(
            self._guarded_stream(_unknown(method), _UNKNOWN, FOR_ANYBODY, _as_it_is)
        )

    def _wrap(self, handler: Handler, name: str) -> Handler:
        row = self._methods.get(name, FOR_NOBODY)
        # Messages are decoded behind the guard: gRPC would tell anybody the decoder's own words, key or no key.
        decode, encode = _decoder(handler), handler.response_serializer
        if handler.request_streaming and handler.response_streaming:
            stream = self._guarded_stream(handler.stream_stream, name, row, decode)
            return grpc.stream_stream_rpc_method_handler(stream, None, encode)
        if handler.response_streaming:
            stream = self._guarded_stream(handler.unary_stream, name, row, decode)
            return grpc.unary_stream_rpc_method_handler(stream, None, encode)
        if handler.request_streaming:
            unary = self._guarded_unary(handler.stream_unary, name, row, decode)
            return grpc.stream_unary_rpc_method_handler(unary, None, encode)
        unary = self._guarded_unary(handler.unary_unary, name, row, decode)
        return grpc.unary_unary_rpc_method_handler(unary, None, encode)

    def _guarded_unary(
        self, behavior: Behavior, name: str, row: Method, decode: Callable[[Any], Any]
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def guarded(raw: Any, context: Context) -> Any:
            metadata = _metadata(context)
            call = self._begin(name, metadata)
            started = time.perf_counter()
            request: Any = None
            failure: Exception | None = None
            try:
                await self._admit(call, row, metadata, context)
                request = decode(raw)
                if row.change is not None:
                    work = partial(self._work, behavior, request, context)
                    response = await self._recorder.change(call, row.change(request), row.summary(request), work)
                else:
                    response = await self._deadlines.within(self._seconds(context), behavior(request, context))
            except grpc.aio.AbortError:
                raise  # The health service's own answer, already given.
            except Exception as error:  # noqa: BLE001 (the border: nothing of ours leaves but what to_status says)
                failure = error
            if failure is not None:
                await self._fail(failure, call, row, _for_the_record(call, request, raw, decode), started, context)
            if not row.quiet:
                self._done(call, started)
            return response

        return guarded

    def _guarded_stream(
        self, behavior: Behavior, name: str, row: Method, decode: Callable[[Any], Any]
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def guarded(raw: Any, context: Context) -> AsyncIterator[Any]:
            metadata = _metadata(context)
            call = self._begin(name, metadata)
            started = time.perf_counter()
            request: Any = None
            failure: Exception | None = None
            try:
                await self._admit(call, row, metadata, context)
                request = decode(raw)
                answers = behavior(request, context)
                if hasattr(answers, "__aiter__"):
                    # Ends at once when this does, and not whenever it is found to be garbage: streams hold slots.
                    async with contextlib.aclosing(answers):
                        async for answer in answers:
                            yield answer
                else:  # The health service writes to the context instead of yielding.
                    await answers
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 (as above)
                failure = error
            if failure is not None:
                await self._fail(failure, call, row, _for_the_record(call, request, raw, decode), started, context)
            if not row.quiet:
                self._done(call, started)

        return guarded

    def _begin(self, name: str, metadata: Metadata) -> Call:
        # Each call is served by a task of its own, so what is set here is not seen by others.
        call = Call(request_id_of(metadata), method=name)
        current_call.set(call)
        request_id_var.set(call.request_id)
        return call

    async def _admit(self, call: Call, row: Method, metadata: Metadata, context: Context) -> None:
        """Authenticates and authorises, or raises BrokerError."""
        if row.needs is Access.PUBLIC:
            return
        if self._ending:
            await self._ended.wait()
            raise broker_stopping()
        self._require_usable()
        evidence = evidence_of(context, metadata)
        call.peer = evidence.peer
        try:
            call.principal = await self._authenticator.authenticate(evidence)
        except BrokerError as error:
            raise self._throttle.failed(evidence.peer, error) from None
        row.require_role(call.principal, call.method)
        if row.bucket is not None:
            self._throttle.ask(call.principal, row.bucket)
        if row.change is not None:
            self._recorder.before_change()

    def _work(self, behavior: Behavior, request: Any, context: Context) -> Coroutine[Any, Any, Any]:
        # Called only when the work is to begin: what is left of the caller's time is reckoned then.
        return self._deadlines.within(self._seconds(context), behavior(request, context))

    def _seconds(self, context: Context) -> float:
        remaining = context.time_remaining()
        return self._limit if remaining is None else min(remaining, self._limit)

    async def _fail(
        self, error: Exception, call: Call, row: Method, request: Any, started: float, context: Context
    ) -> NoReturn:
        known = as_broker_error(error, call.method, self._limit)
        if known is None:
            self._log.error("unexpected error", method=call.method, frames=frames(error))
        else:
            await self._recorder.refused(call, row, known, request)
        self._done(call, started, known, failed=True)
        code, message, trailer = to_status(known, call.request_id, call.principal)
        await context.abort(code, message, trailer)
        raise AssertionError("abort returned")

    def _done(self, call: Call, started: float, error: BrokerError | None = None, *, failed: bool = False) -> None:
        fields: dict[str, Any] = {
            "method": call.method,
            "code": code_of(error).name if failed else "OK",
            "principal": call.principal.name if call.principal else None,
            "milliseconds": round((time.perf_counter() - started) * 1000, 1),
        }
        if error is not None:
            fields.update(reason=error.reason.name, details=error.metadata)
            if error.reason is not Reason.INVALID_FIELD:  # Its words quote the field: perhaps a secret gone astray.
                fields["message"] = error.message
        self._log.info("call", **fields)


def _metadata(context: Context) -> Metadata:
    metadata: Any = context.invocation_metadata()
    return metadata or ()


def _decoder(handler: Handler) -> Callable[[Any], Any]:
    """Returns what turns the raw request, bytes or a stream of them, into messages. Raises InvalidFieldError."""
    decode = handler.request_deserializer
    if decode is None:
        return _as_it_is

    def one(raw: bytes) -> Any:
        try:
            return decode(raw)
        except Exception:  # noqa: BLE001 (decoders raise what they like; their words may quote the request)
            raise InvalidFieldError("request", "cannot be decoded", "a message of the method's request type") from None

    async def each(raw: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for item in raw:
            yield one(item)

    return each if handler.request_streaming else one


def _for_the_record(call: Call, request: Any, raw: Any, decode: Callable[[Any], Any]) -> Any:
    """Returns the request of a refused call, also where it was refused unread: the ledger says what was wanted.

    Of callers that nobody knows nothing is decoded.
    """
    if request is not None or call.principal is None or not isinstance(raw, bytes):
        return request
    try:
        return decode(raw)
    except InvalidFieldError:
        return None


def _as_it_is(request: Any) -> Any:
    return request


def _unknown(method: str) -> Behavior:
    # Names come from outside; what is printed of them is short and plain.
    name = "".join(character for character in method[:120] if character.isascii() and character.isprintable())

    async def refuse(_request: Any, _context: Context) -> None:
        raise method_unknown(name)

    return refuse
