"""A console and its broker in a thread of their own, for tests whose thread the driver of a browser has."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from support.console import console_settings
from support.inproc import OPERATOR_KEY, Broker, bearer, new_connector, running_broker
from valetkey_console.app import console_app
from valetkey_console.cli import server_config
from valetkey_devstack.free_ports import free_port

T = TypeVar("T")
_SECONDS = 120


class ConsoleThread:
    """A console at `url`, before a broker with the connector `azure-blob-demo` and the grant `training`."""

    def __init__(self, url: str, broker: Broker, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self.broker = broker
        self._loop = loop

    def run(self, work: Callable[[Broker], Coroutine[Any, Any, T]]) -> T:
        """Does something with the broker, in its thread."""
        return asyncio.run_coroutine_threadsafe(work(self.broker), self._loop).result(_SECONDS)


@contextlib.contextmanager
def console_in_thread(directory: Path) -> Iterator[ConsoleThread]:
    """Runs one until the block ends, by TLS with the broker's own certificate."""
    ready, kept = threading.Event(), dict[str, Any]()

    async def main() -> None:
        kept["loop"], kept["end"] = asyncio.get_running_loop(), asyncio.Event()
        async with running_broker(directory) as broker:
            await broker.ready()
            await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
            await broker.allow()
            port = free_port()
            settings = console_settings(
                broker,
                directory,
                outer_url=f"https://127.0.0.1:{port}",
                port=port,
                tls_cert_file=broker.settings.server.tls_cert_file,
                tls_key_file=broker.settings.server.tls_key_file,
            )
            server = uvicorn.Server(server_config(settings, console_app(settings)))
            server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            serving = asyncio.create_task(server._serve())
            while not server.started:
                assert not serving.done(), serving.result()
                await asyncio.sleep(0.05)
            kept.update(broker=broker, url=settings.address.rstrip("/"))
            ready.set()
            await kept["end"].wait()
            server.should_exit = True
            await serving

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 (told in the test's thread)
            kept["error"] = error
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="console")
    thread.start()
    try:
        assert ready.wait(_SECONDS)
        if "error" in kept:
            raise kept["error"]
        yield ConsoleThread(kept["url"], kept["broker"], kept["loop"])
    finally:
        if "end" in kept and "error" not in kept:
            kept["loop"].call_soon_threadsafe(kept["end"].set)
        thread.join(_SECONDS)
    assert "error" not in kept, kept["error"]
