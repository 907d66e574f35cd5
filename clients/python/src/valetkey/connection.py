"""The connection of a synchronous client to one broker."""

from pathlib import Path
from typing import Any

import grpc

from valetkey.channel import open_channel
from valetkey.channel_replacement import HeldChannel, ReplaceableChannel
from valetkey.identity import Identity


class Connection:
    """Makes calls over whichever channel is in use; safe to share between threads."""

    def __init__(self, endpoint: str, identity: Identity, ca_file: Path | None) -> None:
        """Raises SettingsError where the CA file or the client certificate cannot be used."""
        files = [path for path in (ca_file, *identity.connection_files()) if path]
        self._channels = ReplaceableChannel(files, lambda: open_channel(endpoint, identity, ca_file))

    # The names and arguments are those of grpc.Channel.
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

    def doubt(self) -> None:
        """Has the next call go over a new connection: over this one nothing comes any more."""
        self._channels.doubt()

    def close(self) -> None:
        """Closes the connection for good; calls under way are cancelled."""
        if (channel := self._channels.channel) is not None:
            channel.close()

    def _take(self) -> HeldChannel[grpc.Channel]:
        held, over = self._channels.take()
        if over is not None:
            over.close()
        return held

    def _give_back(self, held: HeldChannel[grpc.Channel]) -> None:
        over = self._channels.give_back(held)
        if over is not None:
            over.close()
