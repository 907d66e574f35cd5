"""Calls that the calling thread waits for."""

import time
from typing import Any, TypeVar

import grpc

from valetkey.callers.base import Caller, Terms
from valetkey.calls.base import Asking, Rpc
from valetkey.calls.retries import Retries
from valetkey.connection import Connection

Result = TypeVar("Result")


class BlockingCaller(Caller):
    """Makes calls to one broker, from any thread."""

    def __init__(self, terms: Terms) -> None:
        """Raises SettingsError where the CA file or the client certificate cannot be used."""
        super().__init__(terms)
        self.connection = Connection(terms.endpoint, terms.identity, terms.ca_file)

    def close(self) -> None:
        """Closes the connection for good; calls under way are cancelled."""
        self.closed = True
        self.connection.close()

    def run(self, asking: Asking[Result]) -> Result:
        """Makes a call: sends what it asks, and gives it the answers."""
        try:
            rpc = next(asking)
            while True:
                rpc = asking.send(self._answer(rpc))
        except StopIteration as over:
            result: Result = over.value
            return result

    def _answer(self, rpc: Rpc) -> Any:
        """Makes a request, and makes it again where that is safe."""
        retries = Retries(self.terms.timeout, repeatable=rpc.repeatable)
        method = self.connection.unary_unary(
            rpc.path,
            request_serializer=type(rpc.request).SerializeToString,
            response_deserializer=rpc.answer.FromString,
        )
        while True:
            self.check_open()
            metadata = self.terms.identity.call_metadata()
            try:
                answer = method(rpc.request, timeout=retries.seconds_left, metadata=metadata)
            except grpc.RpcError as error:
                failed = self.error(error)
                if self.closed or (pause := retries.pause(failed)) is None:
                    # The cause is left out: gRPC's own text repeats what the error says.
                    raise failed from None
            else:
                return answer
            self.tell(failed)
            time.sleep(pause)
