"""What all calls share: a channel, an identity, a deadline, and errors of our own."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import grpc

from valetkey.calls.retries import Retries
from valetkey.channel import parse_endpoint
from valetkey.connection import Connection
from valetkey.errors import (
    BrokerUnreachableError,
    ConnectionLostError,
    InvalidArgumentError,
    UnauthenticatedError,
    ValetKeyError,
    from_rpc_error,
)
from valetkey.identity import Identity

Request = TypeVar("Request")
Response = TypeVar("Response")
Item = TypeVar("Item")

# Told of an error that is got over by another try.
Interruption = Callable[[ValetKeyError], None]

PAGE_SIZE = 500
_MAX_TIMEOUT = 3600.0


class Calls:
    """Makes calls to one broker."""

    def __init__(
        self,
        endpoint: str,
        identity: Identity,
        ca_file: Path | None,
        timeout: float,
        on_interruption: Interruption | None = None,
    ) -> None:
        """Raises SettingsError or InvalidArgumentError where one of the arguments cannot be used."""
        if not 0 < timeout <= _MAX_TIMEOUT:
            raise InvalidArgumentError(f"timeout: {timeout:g} s is out of range; expected over 0 and up to 3600 s")
        self._endpoint = parse_endpoint(endpoint)
        self._timeout = timeout
        self._closed = False
        # Until the broker has answered: another worker of it may not know a key yet that was made just now.
        self._new_key = identity.is_api_key
        self._identity = identity
        self._on_interruption = on_interruption
        self._channel: Any = Connection(self._endpoint, identity, ca_file)

    def _call(self, method: Callable[..., Response], request: Request, *, repeatable: bool = False) -> Response:
        """Makes a call, and makes it again where that is safe; `repeatable` tells that doing it twice does no harm."""
        retries = Retries(self._timeout, repeatable=repeatable, new_key=self._new_key)
        while True:
            self._check_open()
            credentials = self._identity.call_credentials()
            try:
                answer = method(request, timeout=retries.seconds_left, credentials=credentials)
            except grpc.RpcError as error:
                failed = self._error(error)
                if self._closed or (pause := retries.pause(failed)) is None:
                    self._new_key = self._new_key and not failed.request_id
                    # The cause is left out: gRPC's own text repeats what the error says.
                    raise failed from None
            else:
                self._new_key = False
                return answer
            if self._on_interruption:
                self._on_interruption(failed)
            time.sleep(pause)

    def _error(self, error: grpc.RpcError) -> ValetKeyError:
        found = from_rpc_error(error, self._endpoint, self._timeout)
        if isinstance(found, (BrokerUnreachableError, ConnectionLostError)) and (
            why := self._identity.certificate_error()
        ):
            # Nothing else tells it: a broker ends such a handshake without a word.
            return UnauthenticatedError(f"cannot connect to the broker at {self._endpoint}: {why}", code=found.code)
        return found

    def _check_open(self) -> None:
        if self._closed:
            raise ValetKeyError("this client is closed; expected calls before close(), or make a new Client")


def several(values: Iterable[Item], field: str, example: str) -> list[Item]:
    """Returns the items of an argument.

    Raises InvalidArgumentError for one bare string, whose characters would be taken one by one.
    """
    if isinstance(values, str):
        raise InvalidArgumentError(f"{field}: is one string; expected several, such as {example}")
    return list(values)
