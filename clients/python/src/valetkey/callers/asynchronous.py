"""Calls that a task waits for."""

import asyncio
from typing import Any, TypeVar

import grpc.aio

from valetkey.aio_connection import AioConnection
from valetkey.callers.base import Caller, Terms
from valetkey.calls.base import Asking, Rpc
from valetkey.calls.retries import Retries
from valetkey.errors import ValetKeyError

Result = TypeVar("Result")


class AsyncCaller(Caller):
    """Makes calls to one broker, from the tasks of one event loop at a time."""

    def __init__(self, terms: Terms) -> None:
        """Raises SettingsError where the CA file or the client certificate cannot be used."""
        super().__init__(terms)
        self.connection = AioConnection(terms.endpoint, terms.identity, terms.ca_file)

    async def close(self) -> None:
        """Closes the connection for good; calls under way are cancelled."""
        self.closed = True
        await self.connection.close()

    async def run(self, asking: Asking[Result]) -> Result:
        """Makes a call: sends what it asks, and gives it the answers."""
        try:
            rpc = next(asking)
            while True:
                rpc = asking.send(await self._answer(rpc))
        except StopIteration as over:
            result: Result = over.value
            return result

    async def _answer(self, rpc: Rpc) -> Any:
        """Makes a request, and makes it again where that is safe."""
        retries = Retries(self.terms.timeout, repeatable=rpc.repeatable)
        while True:
            self.check_open()
            await self.renew_login()
            metadata = self.terms.identity.call_metadata()
            try:
                answer = await self.connection.unary(
                    rpc.path, rpc.request, rpc.answer, timeout=retries.seconds_left, metadata=metadata
                )
            except grpc.RpcError as error:
                failed = self.error(error)
                if self.closed or (pause := retries.pause(failed)) is None:
                    raise failed from None
            except asyncio.CancelledError:
                raise self.why_cancelled() from None
            else:
                return answer
            self.tell(failed)
            await asyncio.sleep(pause)

    async def renew_login(self) -> None:
        """Renews a log-in where that is due, in a thread; it is looked up without waiting then.

        Raises what `Identity.login_token` raises.
        """
        if self.terms.identity.login_file is not None:
            await asyncio.to_thread(self.terms.identity.login_token)

    async def fingerprint(self) -> bytes | None:
        """Returns what tells a renewed identity from the one before, a log-in renewed first."""
        if self.terms.identity.login_file is not None:
            return await asyncio.to_thread(self.terms.identity.fingerprint)
        return self.terms.identity.fingerprint()

    def why_cancelled(self) -> BaseException:
        """Returns what to raise for a call that was cancelled: by whoever waits for it, or by close()."""
        task = asyncio.current_task()
        if self.closed and not (task and task.cancelling()):
            return ValetKeyError("this client was closed under the call", code="CANCELLED")
        return asyncio.CancelledError()
