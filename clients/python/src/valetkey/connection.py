"""The connection to one broker, made anew when the files that it was made from change."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from valetkey.channel import open_channel
from valetkey.errors import SettingsError
from valetkey.file_stamps import stamps
from valetkey.identity import Identity

# Load balancers and NATs forget a silent connection without a word, Azure's after 240 s; what is sent then is lost.
# gRPC's own limit on idleness (grpc.client_idle_timeout_ms) takes effect once in a channel's life (grpcio 1.85.1).
REST_SECONDS = 180.0


@dataclass(slots=True, eq=False)
class _Held:
    """A channel, how many calls are under way on it, and when the last one began or ended."""

    channel: grpc.Channel
    calls: int = 0
    retired: bool = False
    used: float = field(default_factory=time.monotonic)


class Connection:
    """What the generated stubs take for a channel; safe to share between threads.

    A connection that rested for long is not used again: something on the way may have forgotten it.

    gRPC reads certificates once, when a channel is made, and others rotate them: SPIFFE's live for an hour. So each
    call looks at the files first. If they changed, it goes over a new channel, and the old one is closed when its last
    call has ended. What cannot be used, such as a new certificate beside the old key, leaves the old channel in use.
    """

    def __init__(self, endpoint: str, identity: Identity, ca_file: Path | None) -> None:
        """Raises SettingsError where the CA file or the client certificate cannot be used."""
        self._endpoint = endpoint
        self._identity = identity
        self._ca_file = ca_file
        self._files = [path for path in (ca_file, *identity.connection_files()) if path]
        self._lock = threading.Lock()
        self._stamps = stamps(self._files)
        self._held = _Held(open_channel(endpoint, identity, ca_file))

    # The names and arguments are those of grpc.Channel, as generated code calls them.
    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """Returns a method of the channel that is in use whenever it is called."""

        def call(request: Any, **more: Any) -> Any:
            held = self._take()
            try:
                return held.channel.unary_unary(*arguments, **options)(request, **more)
            finally:
                self._give_back(held)

        return call

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """Returns a method of the channel that is in use whenever it is called."""

        def call(request: Any, **more: Any) -> Any:
            held = self._take()
            try:
                stream: Any = held.channel.unary_stream(*arguments, **options)(request, **more)
            except BaseException:
                self._give_back(held)
                raise
            if not stream.add_callback(lambda: self._give_back(held)):
                self._give_back(held)
            return stream

        return call

    def close(self) -> None:
        """Closes the connection for good; calls under way are cancelled."""
        self._held.channel.close()

    def _take(self) -> _Held:
        retired = None
        with self._lock:
            # Looked at before the files are read: what changes in between shows the next time.
            now = stamps(self._files)
            rested = not self._held.calls and time.monotonic() - self._held.used > REST_SECONDS
            if (rested or now != self._stamps) and (fresh := self._reopened()):
                self._stamps = now
                retired, self._held = self._held, _Held(fresh)
                retired.retired = True
            held = self._held
            held.calls += 1
            held.used = time.monotonic()
        if retired and not retired.calls:
            retired.channel.close()
        return held

    def _reopened(self) -> grpc.Channel | None:
        try:
            return open_channel(self._endpoint, self._identity, self._ca_file)
        except SettingsError:
            return None

    def _give_back(self, held: _Held) -> None:
        with self._lock:
            held.calls -= 1
            held.used = time.monotonic()
            over = held.retired and not held.calls
        if over:
            held.channel.close()
