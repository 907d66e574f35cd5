"""Serves in this process, until somebody ends it."""

import asyncio
import signal

import structlog

from valetkey_broker import __version__
from valetkey_broker.app import open_core
from valetkey_broker.concurrency.garbage_collection import keep_collections_short
from valetkey_broker.limits.open_files import raise_open_files
from valetkey_broker.metrics.worker_channel import Answerer
from valetkey_broker.rpc.when_to_listen import Listen
from valetkey_broker.serving import running_server
from valetkey_broker.settings import Settings


async def serve(
    settings: Settings,
    *,
    stop: asyncio.Event | None = None,
    listen: Listen = Listen.AT_ONCE,
    metrics: Answerer | None = None,
) -> None:
    """Serves until SIGTERM, SIGINT or `stop`, and tells `metrics`. Raises ConfigurationError where it cannot start."""
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Files that others rotate are followed anyway; the signal that asks for it must only not end the broker.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    raise_open_files()
    log = structlog.get_logger()
    async with (
        open_core(settings) as core,
        running_server(settings, core, listen=listen, stop=stop, metrics=metrics) as server,
    ):
        loop.add_signal_handler(signal.SIGHUP, server.reread)
        keep_collections_short()
        if not stop.is_set():
            log.info("listening", host=settings.server.host, port=settings.server.port, version=__version__)
        await stop.wait()
        log.info("stopping", grace_seconds=settings.server.grace_seconds)
    log.info("stopped")
