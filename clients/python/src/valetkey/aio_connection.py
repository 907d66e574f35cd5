"""The connection of an asynchronous client to one broker."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio

from valetkey.channel import channel_credentials, channel_options, keep_grpc_up
from valetkey.channel_replacement import HeldChannel, ReplaceableChannel
from valetkey.identity import Identity


class AioConnection:
    """Makes calls over whichever channel is in use, in the event loop that runs: a channel belongs to one loop."""

    def __init__(self, endpoint: str, identity: Identity, ca_file: Path | None) -> None:
        """Raises SettingsError where the CA file or the client certificate cannot be used."""
        channel_credentials(identity, ca_file)  # says so now, and not at the first call
        self._endpoint = endpoint
        self._identity = identity
        self._ca_file = ca_file
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channels: ReplaceableChannel[grpc.aio.Channel] | None = None

    async def unary(self, path: str, request: Any, answer: Any, **more: Any) -> Any:
        """Makes one call and returns its answer. Raises grpc.RpcError."""
        channels = self._current()
        held = await self._take(channels)
        try:
            method = held.channel.unary_unary(
                path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
            )
            return await method(request, **more)
        finally:
            await self._give_back(channels, held)

    async def stream(self, path: str, request: Any, answer: Any, **more: Any) -> "OpenStream":
        """Begins a stream; to be closed."""
        channels = self._current()
        held = await self._take(channels)
        try:
            method = held.channel.unary_stream(
                path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
            )
            return OpenStream(self, channels, held, method(request, **more))
        except BaseException:
            await self._give_back(channels, held)
            raise

    async def close(self) -> None:
        """Closes the connection for good; calls under way are cancelled."""
        channel = self._channels.channel if self._channels is not None else None
        if channel is not None and self._loop is asyncio.get_running_loop():
            await channel.close()
        self._channels = None

    def _current(self) -> ReplaceableChannel[grpc.aio.Channel]:
        loop = asyncio.get_running_loop()
        if self._channels is None or self._loop is not loop:
            files = [path for path in (self._ca_file, *self._identity.connection_files()) if path]
            self._loop, self._channels = loop, ReplaceableChannel(files, self._open)
        return self._channels

    def _open(self) -> grpc.aio.Channel:
        keep_grpc_up()
        return grpc.aio.secure_channel(
            f"dns:///{self._endpoint}",
            channel_credentials(self._identity, self._ca_file),
            options=channel_options(self._endpoint),
        )

    async def _take(self, channels: ReplaceableChannel[grpc.aio.Channel]) -> HeldChannel[grpc.aio.Channel]:
        held, over = channels.take()
        if over is not None:
            await over.close()
        return held

    async def _give_back(
        self, channels: ReplaceableChannel[grpc.aio.Channel], held: HeldChannel[grpc.aio.Channel]
    ) -> None:
        over = channels.give_back(held)
        if over is not None:
            await over.close()


class OpenStream:
    """One stream of answers, and the channel that it holds."""

    def __init__(
        self,
        connection: AioConnection,
        channels: ReplaceableChannel[grpc.aio.Channel],
        held: HeldChannel[grpc.aio.Channel],
        call: Any,
    ) -> None:
        self._connection = connection
        self._channels = channels
        self._held = held
        self._call = call

    async def read(self) -> Any:
        """Returns the next answer, None at the end. Raises grpc.RpcError; being cancelled ends the stream."""
        found = await self._call.read()
        return None if found is grpc.aio.EOF else found

    async def close(self) -> None:
        """Ends the stream, if it has not ended by itself."""
        self._call.cancel()
        await self._connection._give_back(self._channels, self._held)  # noqa: SLF001 (of one room)
