"""What both ways to make calls know: where the broker is, who asks, how long a call may take, whether it is open."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from valetkey.absolute_paths import from_the_root
from valetkey.calls.retries import Reconnections
from valetkey.channel import parse_endpoint
from valetkey.errors import (
    BrokerUnreachableError,
    ConnectionLostError,
    InvalidArgumentError,
    UnauthenticatedError,
    ValetKeyError,
    WatchEndedError,
    from_rpc_error,
)
from valetkey.identity import Identity

_MAX_TIMEOUT = 3600.0
# Is told of an error that the client gets over with another try.
Interruption = Callable[[ValetKeyError], None]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a client was made with. `timeout` is that of a call with all its tries, in seconds."""

    endpoint: str
    identity: Identity
    ca_file: Path | None
    timeout: float
    on_interruption: Interruption | None = None

    def __post_init__(self) -> None:
        """Raises SettingsError or InvalidArgumentError where one of them cannot be used."""
        if not 0 < self.timeout <= _MAX_TIMEOUT:
            raise InvalidArgumentError(f"timeout: {self.timeout:g} s is out of range; expected over 0 and up to 3600 s")
        object.__setattr__(self, "endpoint", parse_endpoint(self.endpoint))
        if self.ca_file is not None:
            object.__setattr__(self, "ca_file", from_the_root(self.ca_file))


def identity_expired(interruption: ValetKeyError) -> bool:
    """Tells whether a stream ended with the identity that it was asked for with."""
    return isinstance(interruption, WatchEndedError) and interruption.reason == "IDENTITY_EXPIRED"


class Caller:
    """The state of a client that is no connection."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.closed = False
        # Older brokers send no signs of life; their silence means nothing.
        self.heartbeats = False

    def error(self, error: grpc.RpcError) -> ValetKeyError:
        """Returns the error of ours for one of gRPC's."""
        terms = self.terms
        found = from_rpc_error(error, terms.endpoint, terms.timeout)
        if isinstance(found, (BrokerUnreachableError, ConnectionLostError)) and (
            why := terms.identity.certificate_error()
        ):
            # Nothing else tells it: a broker ends such a handshake without a word.
            return UnauthenticatedError(f"cannot connect to the broker at {terms.endpoint}: {why}", code=found.code)
        if isinstance(found, UnauthenticatedError) and terms.identity.login_file is not None:
            found.message += f"; log in again: valetkey --endpoint {terms.endpoint} login"
            found.args = (found.message,)
        return found

    def check_open(self) -> None:
        """Raises ValetKeyError once the client is closed."""
        if self.closed:
            raise ValetKeyError("this client is closed; expected calls before close(), or make a new one")

    def pause_before_another_stream(
        self,
        interruption: ValetKeyError,
        reconnections: Reconnections,
        listener: Interruption | None,
        *,
        renewed: bool,
    ) -> float:
        """Returns how many seconds to wait before the next stream; raises `interruption` where it is the last word.

        `renewed` tells whether another identity than the one that expired is there now.
        """
        if identity_expired(interruption):
            # Kubernetes and SPIFFE have put a fresh one into the file by now.
            if not renewed:
                raise interruption
            return 0.0
        if self.closed or (pause := reconnections.pause(interruption)) is None:
            raise interruption
        self.tell(interruption, listener)
        return pause

    def tell(self, interruption: ValetKeyError, listener: Interruption | None = None) -> None:
        """Tells who wants to know of what is got over; `listener` is the call's own."""
        if hear := listener or self.terms.on_interruption:
            hear(interruption)
