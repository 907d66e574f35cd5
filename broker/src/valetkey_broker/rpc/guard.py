"""Stands before every method: request id, authentication, role, deadline; and behind it: errors, the log line."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import grpc
import grpc.aio

from valetkey_broker.errors import BrokerError, method_unknown
from valetkey_broker.limits import Slots, Throttle, network_of
from valetkey_broker.observability.counters import Figures
from valetkey_broker.observability.logging import request_id_var, trace_id_var
from valetkey_broker.ports import Authenticator
from valetkey_broker.rpc.call_log import CallLog
from valetkey_broker.rpc.call_recorder import Recorder
from valetkey_broker.rpc.caller_evidence import evidence_of, peer_address
from valetkey_broker.rpc.caught_up import caught_up
from valetkey_broker.rpc.current_call import Call, Metadata, current_call, request_id_of
from valetkey_broker.rpc.deadline import Deadlines
from valetkey_broker.rpc.drain import Drain
from valetkey_broker.rpc.error_status import as_broker_error, name_of, to_status
from valetkey_broker.rpc.method import FOR_ANYBODY, FOR_NOBODY, Access, Method, Methods
from valetkey_broker.rpc.open_calls import OpenCalls, too_many_calls
from valetkey_broker.rpc.request_reader import Incoming, Reader, reader_of, unread
from valetkey_broker.rpc.trace_context import trace_id_of
from valetkey_broker.state.catching_up import CatchingUp

# Handlers of every message type and kind pass through here.
Handler = Any
Context = Any
Behavior = Callable[[Any, Context], Any]

_UNKNOWN = "unknown"
# Callers that need no identity, health's probers, send their message at once; who does not is not waited for long, nor
# together with many others.
_STRANGERS_SECONDS = 5.0
_MOST_WAITING = 200
_MOST_WAITING_OF_ONE = 100


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
        max_calls: int,
        throttle: Throttle,
        recorder: Recorder,
        catching_up: CatchingUp,
        figures: Figures | None = None,
    ) -> None:
        """`figures` counts calls."""
        self.methods = methods
        self._figures = figures
        self._authenticator = authenticator
        self._require_usable = require_usable
        self._limit = max_deadline_seconds
        self._deadlines = Deadlines()
        self._throttle = throttle
        self._recorder = recorder
        self._catching_up = catching_up
        self._handlers: dict[str, Handler] = {}
        self.open_calls = OpenCalls(max_calls)
        self._waiting, self._waiting_of_one = Slots(_MOST_WAITING), Slots(_MOST_WAITING_OF_ONE)
        self._log = CallLog()
        self.drain = Drain()

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Takes the methods of a service."""
        for name, handler in method_handlers.items():
            method = f"/{service_name}/{name}"
            self._handlers[method] = self._wrap(handler, method)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Takes nothing: generated code offers its methods both ways, and these would come unguarded."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Returns the guarded handler of the method; a method that does not exist gets one that says so."""
        self.drain.count()
        method = handler_call_details.method
        handler = self._handlers.get(method)
        if handler is not None:
            return handler
        return grpc.stream_stream_rpc_method_handler(
            self._guarded_stream(_unknown(method), _UNKNOWN, FOR_ANYBODY, unread)
        )

    def _wrap(self, handler: Handler, name: str) -> Handler:
        row = self.methods.get(name, FOR_NOBODY)
        # To gRPC every request is a stream: of a single message it would tell us only once it is there, and a caller
        # who never sends it would keep the call open for nothing, known or not, for as long as it likes.
        behavior = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        if handler.response_streaming:
            stream = self._guarded_stream(behavior, name, row, reader_of(handler))
            return grpc.stream_stream_rpc_method_handler(stream, None, handler.response_serializer)
        if row.catches_up and row.needs is not Access.PUBLIC:
            behavior = caught_up(behavior, self._catching_up, self._authenticator.standing)
        unary = self._guarded_unary(behavior, name, row, reader_of(handler))
        return grpc.stream_unary_rpc_method_handler(unary, None, handler.response_serializer)

    def _guarded_unary(
        self, behavior: Behavior, name: str, row: Method, reader: Reader
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def guarded(raw: Any, context: Context) -> Any:
            metadata = _metadata(context)
            call = self._begin(name, metadata)
            started = time.perf_counter()
            incoming = reader(raw, context)
            failure: Exception | None = None
            self.open_calls.begin()
            try:
                await self._admit(call, row, metadata, context)
                if row.change is not None:
                    request = await self._read(row, incoming, context)
                    work = partial(self._work, behavior, request, context)
                    response = await self._recorder.change(call, row.change(request), row.summary(request), work)
                else:
                    answer = self._answer(behavior, call, row, incoming, context)
                    response = await self._deadlines.within(self._seconds(context), answer)
            except (grpc.aio.AbortError, asyncio.CancelledError) as error:
                self._left(name, error, context)
                raise  # The health service's own answer, already given; or a caller who went away.
            except Exception as error:  # noqa: BLE001 (the border: nothing of ours leaves but what to_status says)
                failure = error
            finally:
                self.open_calls.end(call)
            if failure is not None:
                await self._fail(failure, call, row, incoming, started, context)
            if self._figures is not None:
                self._figures.answered(name, time.perf_counter() - started)
            if not row.quiet:
                self._log.served(call, started)
            return response

        return guarded

    def _guarded_stream(
        self, behavior: Behavior, name: str, row: Method, reader: Reader
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def guarded(raw: Any, context: Context) -> AsyncIterator[Any]:
            metadata = _metadata(context)
            call = self._begin(name, metadata)
            started = time.perf_counter()
            incoming = reader(raw, context)
            failure: Exception | None = None
            self.open_calls.begin()
            try:
                await self._admit(call, row, metadata, context)
                answers = behavior(await self._read(row, incoming, context), context)
                if hasattr(answers, "__aiter__"):
                    # Ends at once when this does, and not whenever it is found to be garbage: streams hold slots.
                    async with contextlib.aclosing(answers):
                        async for answer in answers:
                            yield answer
                else:  # The health service writes to the context instead of yielding.
                    await answers
            except (grpc.aio.AbortError, asyncio.CancelledError, GeneratorExit) as error:
                self._left(name, error, context)
                raise
            except Exception as error:  # noqa: BLE001 (as above)
                failure = error
            finally:
                self.open_calls.end(call)
            if failure is not None:
                await self._fail(failure, call, row, incoming, started, context, streams=True)
            if self._figures is not None:
                self._figures.ended(name, "OK")
            if not row.quiet:
                self._log.served(call, started)

        return guarded

    def _begin(self, name: str, metadata: Metadata) -> Call:
        # Each call is served by a task of its own, so what is set here is not seen by others.
        call = Call(request_id_of(metadata), method=name, limit=self._limit)
        current_call.set(call)
        request_id_var.set(call.request_id)
        if trace_id := trace_id_of(metadata):
            trace_id_var.set(trace_id)
        return call

    async def _admit(self, call: Call, row: Method, metadata: Metadata, context: Context) -> None:
        """Authenticates and authorises, or raises BrokerError."""
        if row.needs is Access.PUBLIC:
            return
        await self.drain.hold()
        self.open_calls.require_room()
        self._require_usable()
        evidence = evidence_of(context, metadata)
        call.peer = evidence.peer
        try:
            call.principal = await self._authenticator.authenticate(evidence)
        except BrokerError as error:
            raise self._throttle.failed(evidence.peer, error) from None
        self.open_calls.authenticated(call)
        row.require_role(call.principal, call.method)
        if row.bucket is not None and row.cost is None:
            self._throttle.ask(call.principal, row.bucket)
        if row.change is not None:
            self._recorder.before_change()

    async def _read(self, row: Method, incoming: Incoming, context: Context) -> Any:
        """Returns the request, in time or not at all. Raises BrokerError, InvalidFieldError, TimeoutError."""
        if row.needs is Access.PUBLIC:
            return await self._read_strangers(incoming, context)
        return await self._deadlines.within(self._seconds(context), incoming.read())

    async def _read_strangers(self, incoming: Incoming, context: Context) -> Any:
        network = network_of(peer_address(context.peer()))
        with self._waiting_of_one.hold(network) as one, self._waiting.hold("") as any_left:
            if not (one and any_left):
                raise too_many_calls("address" if not one else "broker")
            async with asyncio.timeout(_STRANGERS_SECONDS):
                return await incoming.read()

    async def _answer(self, behavior: Behavior, call: Call, row: Method, incoming: Incoming, context: Context) -> Any:
        if row.needs is Access.PUBLIC:
            return await behavior(await self._read_strangers(incoming, context), context)
        request = await incoming.read()
        if row.bucket is not None and row.cost is not None and call.principal is not None:
            self._throttle.ask(call.principal, row.bucket, row.cost(request))
        return await behavior(request, context)

    def _work(self, behavior: Behavior, request: Any, context: Context) -> Coroutine[Any, Any, Any]:
        # Called only when the work is to begin: what is left of the caller's time is reckoned then.
        return self._deadlines.within(self._seconds(context), behavior(request, context))

    def _seconds(self, context: Context) -> float:
        remaining = context.time_remaining()
        return self._limit if remaining is None else min(remaining, self._limit)

    def _left(self, name: str, error: BaseException, context: Context) -> None:
        if self._figures is not None:
            code = context.code() if isinstance(error, grpc.aio.AbortError) else grpc.StatusCode.CANCELLED
            self._figures.ended(name, name_of(code))

    async def _fail(
        self,
        error: Exception,
        call: Call,
        row: Method,
        incoming: Incoming,
        started: float,
        context: Context,
        *,
        streams: bool = False,
    ) -> NoReturn:
        call.peer = call.peer or peer_address(context.peer())
        known = as_broker_error(error, call.method, self._limit)
        if known is None:
            self._log.broken(call, started, error)
        else:
            # Of callers that nobody knows nothing is read.
            request = await incoming.for_the_record() if call.principal is not None else None
            await self._recorder.refused(call, row, known, request)
            self._log.failed(call, started, known)
        code, message, trailer = to_status(known, call.request_id, call.principal)
        if self._figures is not None:
            seconds = None if streams else time.perf_counter() - started
            self._figures.failed(call.method, code.name, known.reason if known else None, seconds)
        await context.abort(code, message, trailer)
        raise AssertionError("abort returned")


def _metadata(context: Context) -> Metadata:
    metadata: Any = context.invocation_metadata()
    return metadata or ()


def _unknown(method: str) -> Behavior:
    # Names come from outside; what is printed of them is short and plain.
    name = "".join(character for character in method[:120] if character.isascii() and character.isprintable())

    async def refuse(_request: Any, _context: Context) -> None:
        raise method_unknown(name)

    return refuse
