"""What all calls share: a channel, an identity, a deadline, and errors of our own."""

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, TypeVar

import grpc

from valetkey.channel import open_channel, parse_endpoint
from valetkey.errors import InvalidArgumentError, ValetKeyError, from_rpc_error
from valetkey.identity import Identity

Request = TypeVar("Request")
Response = TypeVar("Response")
Item = TypeVar("Item")

PAGE_SIZE = 500
_MAX_TIMEOUT = 3600.0


class Calls:
    """Makes calls to one broker."""

    def __init__(self, endpoint: str, identity: Identity, ca_file: Path | None, timeout: float) -> None:
        """Raises SettingsError or InvalidArgumentError where one of the arguments cannot be used."""
        if not 0 < timeout <= _MAX_TIMEOUT:
            raise InvalidArgumentError(f"timeout: {timeout:g} s is out of range; expected over 0 and up to 3600 s")
        self._endpoint = parse_endpoint(endpoint)
        self._timeout = timeout
        self._closed = False
        self._identity = identity
        self._channel = open_channel(self._endpoint, identity, ca_file)

    def _call(self, method: "grpc.UnaryUnaryMultiCallable[Request, Response]", request: Request) -> Response:
        self._check_open()
        credentials = self._identity.call_credentials()
        try:
            return method(request, timeout=self._timeout, credentials=credentials)
        except grpc.RpcError as error:
            # The cause is left out: gRPC's own text repeats what the error says.
            raise from_rpc_error(error, self._endpoint, self._timeout) from None

    def _stream(
        self, method: "grpc.UnaryStreamMultiCallable[Request, Response]", request: Request
    ) -> Generator[Response, None, None]:
        self._check_open()
        # No deadline: a stream lives as long as both ends want it.
        call: Any = method(request, credentials=self._identity.call_credentials())
        try:
            yield from call
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._endpoint, self._timeout) from None
        finally:
            call.cancel()  # does nothing to a stream that has ended

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
