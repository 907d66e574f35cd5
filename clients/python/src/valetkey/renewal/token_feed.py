"""One scope's current token, kept fresh by one thread for everybody in this process who uses it."""

import contextlib
import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from valetkey.callers.base import Terms
from valetkey.callers.blocking import BlockingCaller
from valetkey.clock_through_suspend import now
from valetkey.errors import UnavailableError, ValetKeyError
from valetkey.identity import CallerFingerprint
from valetkey.renewal import failures, forks, stream_times
from valetkey.renewal.asked_as import AskedAs
from valetkey.renewal.attempts import Attempt, Ended, Heard
from valetkey.renewal.held_token import HeldToken
from valetkey.renewal.pacing import Pacing
from valetkey.renewal.thread_start import start
from valetkey.v1 import token_service_pb2 as token_pb

_JOIN_SECONDS = 5.0
# Where a token that was made after a refusal is refused so soon, it was not the token, and others are but leases.
_NO_USE_SECONDS = 30.0
# In the inbox: somebody has found another caller in the identity's file.
_OTHER_CALLER = object()


class TokenFeed:
    """Keeps a token. Its state is written by its thread alone; `changed` tells those who wait.

    The inbox and the lock may be used by whatever runs inside of them, as collections of garbage do: the queue is made
    for that, and the lock is reentrant.
    """

    def __init__(
        self, terms: Terms, request: token_pb.IssueTokenRequest, seed: HeldToken | None, spare: HeldToken | None
    ) -> None:
        """`spare` is another feed's token; see AskedAs."""
        self.terms = terms
        self.pid = os.getpid()
        self.users: set[object] = set()
        self.stopped = False
        self.thread: threading.Thread | None = None
        self.held = seed
        self._error: ValetKeyError | None = None
        self._told = 0  # how many times those who waited were told of an error
        self._after_refusal = ""  # the lease that was made because storage refused the one before
        self._request = request
        self.asked_as = AskedAs(terms.identity, spare)
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._forks = forks.ForksOfFeed()
        self._changed = threading.Condition(threading.RLock())
        # From here on it is the thread's.
        self._pacing = Pacing()
        self._caller: BlockingCaller | None = None
        self._attempt: Attempt | None = None
        self._ended: Attempt | None = None  # whose thread may still run
        self._due: float | None = None
        self._last_try = 0.0
        self._looked = ""  # the lease at which the identity was looked at
        self._logged = ""

    def current(self) -> HeldToken:
        """Returns a token that is good, at once where there is one. Raises what keeps it from coming."""
        held = self.held
        return held if held is not None and held.good() else self._wait("", lambda held: held.good())

    def begin(self) -> None:
        """Has the token that it was given, as by a fork, renewed ahead of its end; without a thread, at its end."""
        with self._changed, contextlib.suppress(UnavailableError):
            self._start()

    def newer(self, lease_id: str) -> HeldToken:
        """Returns a token that is good and not the one named; all who ask at once get the same one."""
        before = self.held
        held = self._wait(lease_id, lambda held: held.good() and held.token.lease_id != lease_id)
        if before is not None and before.token.lease_id == lease_id:
            self._after_refusal = held.token.lease_id
        return held

    def may_renew(self, lease_id: str) -> bool:
        """Tells whether a newer token may help where storage refused this one; asks for nothing."""
        held = self.held
        if held is None or not (held.token.lease_id == lease_id == self._after_refusal):
            return True
        return now() >= held.born + _NO_USE_SECONDS

    def is_of(self, whose: CallerFingerprint | None) -> bool:
        """Tells whether it is for a caller, whose fingerprint was read just before, and has no token of another one."""
        return self.asked_as.may_be(whose, lambda: self.held)

    def look(self) -> None:
        """Has it ask as the caller who is in the identity's file by now, if that is another one."""
        self._inbox.put(_OTHER_CALLER)

    def stop(self) -> None:
        """Ends it, without waiting; may be called from anywhere, also while garbage is collected.

        So it takes no lock: whoever holds `changed` may be collecting garbage, and wait for a lock of the one that
        stops it. Those who wait are told by the feed's thread as it ends; without one nobody waits.
        """
        self.stopped = True
        self._inbox.put(None)

    def make_way(self, fork: forks.Fork) -> None:
        """Has its thread, if there is one to wait for, keep out of gRPC until a fork is over."""
        if self.stopped or self.thread in (None, threading.current_thread()):
            return
        fork.ask(self._forks)
        self._inbox.put(fork)

    def join(self, seconds: float = _JOIN_SECONDS) -> bool:
        """Waits until nothing of it runs any more; tells whether something did."""
        if self.thread in (None, threading.current_thread()) or not self.thread.is_alive():
            return False
        self.thread.join(seconds)
        return True

    def _wait(self, lease_id: str, wanted: Callable[[HeldToken], bool]) -> HeldToken:
        end = now() + self.terms.timeout
        with self._changed:
            self._start()
            told = self._told
            if self.held is None or not wanted(self.held):
                self._inbox.put(lease_id)
            while self.held is None or not wanted(self.held):
                if self.stopped:
                    raise ValetKeyError("this token source is closed; expected use before close()")
                if self._told != told and self._error is not None:
                    raise failures.for_one_caller(self._error, self.held) from None
                if not self._changed.wait(end - now()) and now() >= end:
                    error = self._error or failures.too_late(self.terms)
                    raise failures.for_one_caller(error, self.held) from None
            return self.held

    def _start(self) -> None:
        if self.thread is None and not self.stopped:
            thread = threading.Thread(target=self._run, name="valetkey-feed", daemon=True)
            start(thread)
            self.thread = thread  # Only now: one that did not start would be waited for, and never be tried again.

    def _run(self) -> None:
        if self.held is not None:
            self._due = self._pacing.renewal(self.held)  # inherited by a fork
        try:
            while not self.stopped:
                try:
                    self._one_event()
                except Exception as error:  # noqa: BLE001 (a feed that ends in silence leaves all without tokens)
                    self._end_attempt()
                    self._on_failed(failures.defect(error))
        finally:
            self.stopped = True  # However it came: who asks next has a new one.
            self._end_attempt()
            if self._caller is not None:
                self._caller.close()
            with self._changed:
                self._changed.notify_all()
            if self._ended is not None:
                self._ended.join(_JOIN_SECONDS)
            self._forks.hold_up_none()

    def _one_event(self) -> None:
        """Waits for something to happen, or for the time to do something, and does it."""
        next_time = self._next_time()
        try:
            event = self._inbox.get(timeout=None if next_time is None else stream_times.seconds_until(next_time))
        except Empty:
            self._on_time()
            return
        match event:
            case str():
                self._on_want(event)
            case _ if event is _OTHER_CALLER and self.asked_as.another_is_there(self._attempt):
                self._try()
            case forks.Fork() if self._forks:  # It was not answered together with another one.
                self._on_forks()
            case Heard() if event.attempt is self._attempt:
                self._on_heard(event.attempt, event)
            case Ended() if event.attempt is self._attempt:
                self._on_ended(event.attempt, event.error)

    def _on_forks(self) -> None:
        attempt = self._attempt
        if attempt is not None and not attempt.by_call:
            self._end_attempt()
            self._due = self._pacing.after_fork(self.held if attempt.tokens else None)
        self._forks.let_pass([each for each in (attempt, self._ended) if each is not None])

    def _next_time(self) -> float | None:
        if self._attempt is None:
            return self._due
        looked = self.held is not None and self._looked == self.held.token.lease_id
        return stream_times.next_time(self._attempt, self.held, self._last_try, looked=looked)

    def _on_time(self) -> None:
        attempt = self._attempt
        if attempt is None:
            self._try()
        elif now() >= attempt.deadline:
            self._on_ended(attempt, failures.lost(self.terms, now() - attempt.last_heard))
        elif self.held is not None and self._looked != self.held.token.lease_id:
            self._look(attempt, self.held)
        elif self.held is not None and self.held.token.ttl_limited_by == "identity-end":
            self._last_try = now()
            if self.terms.identity.fingerprint() not in (attempt.shown, None):
                self._try()
        else:
            self._try()

    def _on_want(self, lease_id: str) -> None:
        held = self.held
        if held is not None and held.good() and held.token.lease_id != lease_id:
            with self._changed:
                self._changed.notify_all()
        elif self._attempt is None:
            earliest = self._pacing.earliest(self._error, self._last_try)
            self._due = earliest if self._due is None else min(self._due, max(earliest, now()))
        elif self._attempt.tokens:
            self._try()  # a stream that will bring the next one later, and that is too late

    def _on_heard(self, attempt: Attempt, event: Heard) -> None:
        came = now()
        # Later ones of a stream were made just now.
        asked = came if attempt.tokens else attempt.asked
        attempt.last_heard = came
        if event.token is None:
            return
        attempt.tokens += 1
        before = self.held if attempt.tokens > 1 else None
        try:
            held = HeldToken.of(event.token, asked, attempt.whose)
        except ValetKeyError as error:
            self._on_ended(attempt, error)
            return
        self._pacing.succeeded()
        self.asked_as.told()
        if self._logged:
            failures.log_their_end(held)
            self._logged = ""
        with self._changed:
            self.held, self._error = held, None
            self._changed.notify_all()
        if before is not None and self._looked != before.token.lease_id:
            self._look(attempt, before)  # It came sooner, or this thread later, than was to be expected.

    def _look(self, attempt: Attempt, held: HeldToken) -> None:
        self._looked = held.token.lease_id
        if attempt.is_of_another(self.terms.identity):
            self._try()

    def _on_ended(self, attempt: Attempt, error: ValetKeyError | None) -> None:
        self._end_attempt()
        if error is None:
            self._due = self._pacing.renewal(self.held) if self.held else None
            return
        if not attempt.by_call:
            self._pacing.stream_ended(error, now() - attempt.asked, attempt.tokens)
            if self._pacing.by_calls and attempt.tokens and self.held is not None and self.held.good():
                self._due = self._pacing.renewal(self.held)
                return
        if error.reason == "IDENTITY_EXPIRED" and self.terms.identity.fingerprint() not in (attempt.shown, None):
            self._due = now()
            return
        self._on_failed(error)

    def _on_failed(self, error: ValetKeyError) -> None:
        self.held = self.asked_as.serves_on(error, self.held)
        self._due, tell = self._pacing.failed(error, self.held)
        if tell and self.held is not None and self.held.good() and error.message != self._logged:
            self._logged = error.message
            failures.log(error, self.held)
        with self._changed:
            self._error = error
            self._told += tell
            self._changed.notify_all()

    def _try(self) -> None:
        """Begins an attempt, in place of one that is under way."""
        self._end_attempt()
        self._due, self._last_try = None, now()
        whose = self.asked_as.now()
        try:
            if self._caller is None:
                self._caller = BlockingCaller(self.terms)
            by_call = self._pacing.by_calls
            self._attempt = Attempt(self._caller, self._request, self._inbox, by_call=by_call, whose=whose)
        except ValetKeyError as error:
            self._on_failed(error)

    def _end_attempt(self) -> None:
        if self._attempt is not None:
            # As where the machine slept: gRPC finds a dead connection 40 s after that, and those who wait have 30 s.
            if self._caller is not None and now() >= self._attempt.deadline:
                self._caller.connection.doubt()
            self._attempt.cancel()
            self._ended, self._attempt = self._attempt, None
