"""`valetkey-broker serve`: one process, or a supervisor and the workers that it starts."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import uvloop

from valetkey_broker.concurrency.garbage_collection import loading_modules
from valetkey_broker.metrics.http_server import OneWorker, metrics_port
from valetkey_broker.metrics.worker_channel import Answerer, answerer_of_worker
from valetkey_broker.observability.logging import logging_by_a_thread
from valetkey_broker.settings import Settings, load_settings
from valetkey_broker.worker_supervisor import Supervisor, only_broker_on, replaces_another, watch_lifeline


def serve_alone_or_supervise(config: Path, workers: int | None) -> None:
    """Serves until SIGTERM or Ctrl-C; with several workers, ends the process."""
    with _loaded(config) as settings:
        count = workers or settings.server.workers
        certificate_port = settings.authn.mtls.port if settings.authn.mtls is not None else None
        if count > 1:
            sys.exit(Supervisor(config, settings, count, certificate_port).run())
        alone = OneWorker()
        with only_broker_on(settings.server, certificate_port), metrics_port(settings.metrics, alone):
            uvloop.run(_serve(settings, worker=False, metrics=Answerer(alone.asker.theirs)))


def serve_as_worker(config: Path) -> None:
    """Serves as one of several workers."""
    with _loaded(config) as settings:
        uvloop.run(_serve(settings, worker=True, metrics=answerer_of_worker()))


@contextlib.contextmanager
def _loaded(config: Path) -> Iterator[Settings]:
    settings = load_settings(config)
    with logging_by_a_thread(settings.logging.format, settings.logging.level):
        yield settings


async def _serve(settings: Settings, *, worker: bool, metrics: Answerer | None) -> None:
    # gRPC comes in here, in the process that serves: never in the one that starts others.
    with loading_modules():
        from valetkey_broker.cli.server_process import serve  # noqa: PLC0415
        from valetkey_broker.rpc.when_to_listen import Listen  # noqa: PLC0415

    stop = asyncio.Event()
    lifeline = watch_lifeline()
    if lifeline is not None:
        loop = asyncio.get_running_loop()

        def supervisor_ended() -> None:
            loop.remove_reader(lifeline)  # The end of a pipe stays readable for ever.
            stop.set()

        loop.add_reader(lifeline, supervisor_ended)
    listen = Listen.AT_ONCE
    if worker:
        listen = Listen.ONCE_READY if replaces_another() else Listen.ONCE_VAULT_WAS_TRIED
    await serve(settings, stop=stop, listen=listen, metrics=metrics)
