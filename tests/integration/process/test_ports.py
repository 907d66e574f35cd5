"""One broker, one port: a second `serve` is told, however many workers share the port on purpose."""

import asyncio
import contextlib
import signal
import socket
from pathlib import Path

import pytest

from support.broker_process import Serving, run, serving, write_config
from valetkey_broker.errors import EXIT_CONFIGURATION

WORDS = "the port is taken, perhaps by another valetkey-broker; stop that one, or choose another server.port"


def refused(broker: Serving) -> bool:
    """Tells whether a broker ended because of the port, in words that say so."""
    return f"Error: cannot listen on 127.0.0.1:{broker.port}: {WORDS}" in broker.said and "Traceback" not in broker.said


@pytest.mark.parametrize("first", ["1", "2"], ids=["first with 1 worker", "first with 2 workers"])
async def test_second_serve_on_the_same_port(tmp_path: Path, first: str) -> None:
    """A second broker does not share the port in silence, and the first goes on."""
    config = write_config(tmp_path)
    with serving(config, "--workers", first) as broker:
        await broker.logged("listening", int(first))
        for second in ("1", "2"):
            with serving(config, "--workers", second) as other:
                assert await other.ended() == EXIT_CONFIGURATION
                assert refused(other), other.said
                assert not other.lines
        assert broker.process.poll() is None
        assert not await broker.healthy()


@pytest.mark.parametrize(("one", "other"), [("1", "1"), ("1", "2"), ("2", "2")])
async def test_both_at_the_same_moment(tmp_path: Path, one: str, other: str) -> None:
    """Of two brokers that start at once exactly one has the port, the other is told."""
    config = write_config(tmp_path)
    with serving(config, "--workers", one) as first, serving(config, "--workers", other) as second:
        async with asyncio.timeout(90):
            while first.process.poll() is None and second.process.poll() is None:  # noqa: ASYNC110 (processes)
                await asyncio.sleep(0.05)
        winner, loser = (second, first) if first.process.poll() is not None else (first, second)
        assert loser.process.poll() == EXIT_CONFIGURATION
        assert refused(loser), loser.said
        await winner.logged("listening")
        assert winner.process.poll() is None


@pytest.mark.parametrize("workers", ["1", "2"])
def test_port_of_another_program(tmp_path: Path, workers: str) -> None:
    """The port of another program, even one that would share it, is not taken."""
    config = write_config(tmp_path)
    port = int(next(line for line in config.read_text().splitlines() if line.startswith("port"))[7:])
    with contextlib.closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        ran = run("serve", "--config", config, "--workers", workers)
    assert ran.returncode == EXIT_CONFIGURATION
    assert WORDS in ran.stderr


async def test_port_is_free_again_after_a_crash(tmp_path: Path) -> None:
    """What holds the port's name goes with the process, however it ends: no stale lock keeps a broker down."""
    config = write_config(tmp_path)
    with serving(config) as crashed:
        await crashed.logged("listening")
        crashed.send(signal.SIGKILL)
        await crashed.ended()
        with serving(config) as again:
            await again.logged("listening")
