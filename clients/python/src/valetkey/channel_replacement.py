"""Which channel of a client is in use, and which ones only wait for their last call."""

import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from valetkey.clock_through_suspend import now
from valetkey.errors import SettingsError
from valetkey.file_stamps import stamps

# Load balancers and NATs forget a silent connection without a word, Azure's after 240 s; what is sent then is lost.
# gRPC's own limit on idleness (grpc.client_idle_timeout_ms) takes effect once in a channel's life (grpcio 1.85.1).
REST_SECONDS = 180.0

Channel = TypeVar("Channel")


@dataclass(slots=True, eq=False)
class HeldChannel(Generic[Channel]):
    """A channel, how many calls are under way on it, and when the last one began or ended."""

    channel: Channel
    calls: int = 0
    retired: bool = False
    used: float = field(default_factory=now)


class ReplaceableChannel(Generic[Channel]):
    """The channel in use, made anew when the files that it was made from change; safe to share between threads.

    A connection that rested for long, or over which nothing comes any more, is not used again: something on the way may
    have forgotten it.

    gRPC reads certificates once, when a channel is made, and others rotate them: SPIFFE's live for an hour. So each
    call looks at the files first. If they changed, it goes over a new channel, and the old one is closed when its last
    call has ended. What cannot be used, such as a new certificate beside the old key, leaves the old channel in use.

    A forked child makes a channel of its own: gRPC (1.85.1) readies those that it inherits only if no other thread is
    in a call just then.
    """

    def __init__(self, files: list[Path], open_channel: Callable[[], Channel]) -> None:
        """Raises what `open_channel` raises: SettingsError where a file cannot be used."""
        self._files = files
        self._open = open_channel
        self._lock = threading.Lock()
        self._stamps = stamps(files)
        self._held = HeldChannel(open_channel())
        self._is_parents = False
        self._doubted = False
        _all.add(self)

    @property
    def channel(self) -> Channel | None:
        """The channel in use; None where there is only that of the parent, which is not ours to close."""
        return None if self._is_parents else self._held.channel

    def doubt(self) -> None:
        """Has the next call go over a new channel, whatever is still under way on this one."""
        self._doubted = True

    def take(self) -> tuple[HeldChannel[Channel], Channel | None]:
        """Returns the channel for one call, to be given back, and one that is to be closed now, if any.

        Raises SettingsError where a forked child cannot make its own.
        """
        retired = None
        with self._lock:
            if self._is_parents:
                self._stamps = stamps(self._files)
                self._held, self._is_parents = HeldChannel(self._open()), False
            # Looked at before the files are read: what changes in between shows the next time.
            found = stamps(self._files)
            rested = not self._held.calls and now() - self._held.used > REST_SECONDS
            over = rested or self._doubted or found != self._stamps
            if over and (fresh := self._reopened()) is not None:
                self._stamps, self._doubted = found, False
                retired, self._held = self._held, HeldChannel(fresh)
                retired.retired = True
            held = self._held
            held.calls += 1
            held.used = now()
        return held, retired.channel if retired and not retired.calls else None

    def give_back(self, held: HeldChannel[Channel]) -> Channel | None:
        """Notes that a call is over. Returns its channel where that is to be closed now."""
        with self._lock:
            held.calls -= 1
            held.used = now()
            return held.channel if held.retired and not held.calls else None

    def forked(self) -> None:
        """Begins anew in a child; nothing of the parent's is used, nor collected, which would close it."""
        self._lock = threading.Lock()
        if not self._is_parents:
            _of_parents.append(self._held)
            self._is_parents = True

    def _reopened(self) -> Channel | None:
        try:
            return self._open()
        except SettingsError:
            return None


_of_parents: list[Any] = []
_all: "weakref.WeakSet[ReplaceableChannel[Any]]" = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_all):
        each.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
