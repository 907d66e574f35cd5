"""The same for the asynchronous clients of Azure's libraries, with an AsyncTokenSource; they want aiohttp."""

import asyncio
import functools
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import AsyncHttpTransport

from valetkey.account_and_container import account_and_container
from valetkey.async_token_source import AsyncTokenSource
from valetkey.azure.aio_transport import aio_transport
from valetkey.azure.certificate_errors import told_as_untrusted
from valetkey.azure.missing_permissions import explain
from valetkey.azure.signed_requests import Body, may_be_mended, sign, transport_settings

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient


class AsyncSasCredential(AzureSasCredential):
    """A credential whose signature is the current token's, empty while there is none: the transport waits for it."""

    def __init__(self, source: AsyncTokenSource) -> None:
        """Asks for no token yet."""
        self._source = source

    @property
    def signature(self) -> str:
        """The current token if there is a good one."""
        token = self._source.peek()
        return token.sas if token is not None else ""

    def __repr__(self) -> str:
        return f"AsyncSasCredential({self._source!r})"


class AsyncSigningTransport(AsyncHttpTransport[Any, Any]):
    """Sends each attempt with the current token, once more with a fresh one where storage refuses that."""

    def __init__(
        self,
        source: AsyncTokenSource,
        transport: AsyncHttpTransport[Any, Any],
        another: Callable[[], AsyncHttpTransport[Any, Any]] | None = None,
    ) -> None:
        """Sends by `transport`; by `another` once the loop that this was used in is closed, its connections with it."""
        self._source = source
        self._transport = transport
        self._another = another
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, request: Any, **kwargs: Any) -> Any:
        """Sends a request, signed.

        Raises a ValetKeyError where there is no token, and SettingsError where storage's certificate is not trusted.
        """
        await self._go_on_in_this_loop()
        token, body = await self._source.current(), Body(request)
        sign(request, token)
        try:
            response = await self._transport.send(request, **kwargs)
        except ServiceRequestError as error:
            if told := told_as_untrusted(error, request.url):
                raise told from error
            raise
        if not (may_be_mended(response) and body.again and self._source.may_renew(token)):
            explain(response, request, token)
            return response
        try:
            fresh = await self._source.renew(token)
        finally:
            if hasattr(response, "close"):
                await response.close()
        body.rewind()
        sign(request, fresh)
        return await self._transport.send(request, **kwargs)

    async def _go_on_in_this_loop(self) -> None:
        """Leaves behind what belongs to a loop that is closed, as after each `asyncio.run`."""
        if self._loop is not None and not self._loop.is_closed():
            return
        before, self._loop = self._loop, asyncio.get_running_loop()
        if before is not None and self._another is not None:
            old, self._transport = self._transport, self._another()
            await old.close()

    async def open(self) -> None:
        """Opens what is below."""
        await self._transport.open()

    async def close(self) -> None:
        """Closes what is below; the source goes on."""
        await self._transport.close()

    async def sleep(self, duration: float) -> None:
        """Waits between two attempts."""
        await self._transport.sleep(duration)

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._transport.__aexit__(kind, error, traceback)


def options(source: AsyncTokenSource, **transport: Any) -> dict[str, Any]:
    """Returns the keyword arguments for an asynchronous client: credential and transport.

    `transport` are the arguments of azure-core's AioHttpTransport, such as `connection_verify=CA_FILE`.
    """
    settings = transport_settings(transport)
    # A session that was given is not ours to replace.
    another = None if transport.get("session") else functools.partial(aio_transport, **settings)
    signing = AsyncSigningTransport(source, aio_transport(**settings), another)
    return {"credential": AsyncSasCredential(source), "transport": signing}


async def container_client(source: AsyncTokenSource, **transport: Any) -> "ContainerClient":
    """Returns a client for the container of a source's token; asks for the token. `transport` is as for `options`."""
    from azure.storage.blob.aio import ContainerClient  # noqa: PLC0415 (-file-datalake does without)

    account_url, container = account_and_container(await source.current())
    return ContainerClient(account_url, container, **options(source, **transport))


__all__ = ["AsyncSasCredential", "AsyncSigningTransport", "container_client", "options"]
