"""The port for metrics of a broker with workers: told together, also while one of them hangs, dies or starts."""

import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

from support.broker_process import run, serving, write_config
from support.scraping import Scrape, until_scraped
from valetkey_broker.errors import EXIT_CONFIGURATION
from valetkey_devstack.free_ports import free_port
from valetkey_devstack.openbao import OpenBao

pytestmark = pytest.mark.xdist_group("openbao-process")
UP, STARTS = "valetkey_worker_up", "valetkey_worker_starts_total"


def serves(found: Scrape, worker: str) -> bool:
    """Tells whether a worker answered and serves."""
    return found.value(UP, worker=worker) == found.value("valetkey_serving", worker=worker) == 1


async def test_workers_are_told_apart(tmp_path: Path, bao: OpenBao) -> None:
    """A worker that hangs is named, one that died is back in the same place, and the others are told all the while."""
    port = free_port()
    config = write_config(tmp_path, bao.settings(), metrics={"port": port})
    with serving(config, "--workers", "2") as broker:
        await broker.logged("listening", 2)
        told = await until_scraped(port, lambda found: all(serves(found, worker) for worker in "01"))
        # Only a real Vault knows these.
        assert (told.value("valetkey_vault_token_remaining_seconds", worker="0") or 0) > 0
        assert {each.labels.get("worker") for each in told.samples} == {"0", "1"}

        before = broker.workers()
        os.kill(before[1], signal.SIGSTOP)
        hanging = await until_scraped(port, lambda found: found.value(UP, worker="1") == 0 and serves(found, "0"))
        assert hanging.value("valetkey_serving", worker="1") is None
        os.kill(before[1], signal.SIGCONT)
        await until_scraped(port, lambda found: found.value(UP, worker="1") == 1)

        os.kill(before[0], signal.SIGKILL)
        await broker.logged("worker died; replacing it")
        await until_scraped(port, lambda found: serves(found, "1"))
        await until_scraped(port, lambda found: found.value(STARTS, worker="0") == 2)
        again = await until_scraped(port, lambda found: serves(found, "0"))
        assert again.value(STARTS, worker="1") == 1
        broker.send(signal.SIGTERM)
        assert await broker.ended() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_told(tmp_path: Path, workers: str) -> None:
    """A broker without the metrics that were asked for would be missed only when they are needed."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = write_config(tmp_path, metrics={"port": taken.getsockname()[1]})
        ran = run("serve", "--config", config, "--workers", workers)
    assert ran.returncode == EXIT_CONFIGURATION
    assert "cannot tell metrics on 127.0.0.1:" in ran.stderr
    assert "choose another metrics.port" in ran.stderr


def test_a_port_that_callers_use_is_refused(tmp_path: Path) -> None:
    """Metrics are plain HTTP: they never share a port with callers."""
    config = write_config(tmp_path)
    port = next(line for line in config.read_text().splitlines() if line.startswith("port"))
    config.write_text(f"{config.read_text()}\n[metrics]\n{port}\n")
    ran = run("check-config", "--config", config)
    assert ran.returncode == EXIT_CONFIGURATION
    assert "metrics.port: is a port that serves callers" in ran.stderr
