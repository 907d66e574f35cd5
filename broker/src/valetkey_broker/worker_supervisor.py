"""Runs several workers that share the port, replaces those that die, and ends them all."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import structlog

from valetkey_broker.concurrency.backoff import Backoff
from valetkey_broker.concurrency.interrupts import hangups_held_back
from valetkey_broker.errors import EXIT_CONFIGURATION, ConfigurationError
from valetkey_broker.metrics.http_server import WorkerPlace, metrics_port
from valetkey_broker.metrics.worker_channel import METRICS_ENV, Asker
from valetkey_broker.settings import ServerSettings, Settings

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_HEALTHY_AFTER_SECONDS = 30.0
_TICK_SECONDS = 0.2
LIFELINE_ENV = "VALETKEY_BROKER_LIFELINE_FD"
REPLACES_ENV = "VALETKEY_BROKER_REPLACES"


@contextlib.contextmanager
def only_broker_on(settings: ServerSettings, certificate_port: int | None = None) -> Iterator[None]:
    """Holds the names of the broker's ports. Raises ConfigurationError where another process has one, or nobody can.

    Workers bind with SO_REUSEPORT, with which a second broker would share the port in silence. So the port is tried
    once without it; and between two brokers that try at the same moment an abstract socket decides (Linux only: it
    belongs to the network namespace, as the port does, and goes with the process).
    """
    with contextlib.ExitStack() as held:
        held.enter_context(_only_user_of(settings, "server.port"))
        if certificate_port is not None:
            other = settings.model_copy(update={"port": certificate_port})
            held.enter_context(_only_user_of(other, "authn.mtls.port"))
        yield


@contextlib.contextmanager
def _only_user_of(settings: ServerSettings, setting: str) -> Iterator[None]:
    taken = ConfigurationError(
        f"cannot listen on {settings.address}: the port is taken, perhaps by another valetkey-broker; "
        f"stop that one, or choose another {setting}"
    )
    with contextlib.ExitStack() as held:
        if sys.platform == "linux":
            name = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            try:
                name.bind(f"\0valetkey-broker:{settings.address}")
            except OSError:
                raise taken from None
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, settings.port))
                probe.listen()
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise taken from None
                raise ConfigurationError(
                    f"cannot listen on {settings.address}: {error.strerror}; see server.host and {setting}"
                ) from None
        yield


def watch_lifeline() -> int | None:
    """Returns the descriptor that ends when the supervisor does, or None outside of a worker."""
    value = os.environ.pop(LIFELINE_ENV, "")
    return int(value) if value.isdecimal() else None


def replaces_another() -> bool:
    """Tells whether this worker takes the place of one that died, while others serve."""
    return os.environ.pop(REPLACES_ENV, "") == "1"


class Supervisor:
    """Starts N workers as processes of their own, before any gRPC object exists in this one."""

    def __init__(self, config: Path, settings: Settings, workers: int, certificate_port: int | None = None) -> None:
        self._argv = [sys.executable, "-m", "valetkey_broker", "worker", "--config", str(config)]
        self._settings = settings.server
        self._metrics = settings.metrics
        self._certificate_port = certificate_port
        self._slots: list[_Slot] = [_Slot(index) for index in range(workers)]
        self._stopping = False
        self._log = structlog.get_logger()

    def run(self) -> int:
        """Runs until SIGTERM or SIGINT; returns the exit code. Raises ConfigurationError where a port is taken."""
        with only_broker_on(self._settings, self._certificate_port), metrics_port(self._metrics, self):
            lifeline_read, lifeline_write = os.pipe()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            signal.signal(signal.SIGHUP, self._pass_on)
            try:
                return self._loop(lifeline_read)
            finally:
                self._end_workers()
                os.close(lifeline_write)
                os.close(lifeline_read)

    def places(self) -> Sequence[WorkerPlace]:
        """Returns where the workers are, for their metrics."""
        return [WorkerPlace(slot.index, slot.starts, slot.asker) for slot in self._slots]

    def _loop(self, lifeline: int) -> int:
        while not self._stopping:
            now = time.monotonic()
            for slot in self._slots:
                others = any(other.process is not None for other in self._slots if other is not slot)
                if slot.process is None and now >= slot.start_at:
                    self._start(slot, lifeline, beside_others=others)
                elif slot.process is not None and (code := slot.process.poll()) is not None:
                    # The files of one that replaces another may have gone bad since; the others serve with what they
                    # read in time, and go on.
                    if code == EXIT_CONFIGURATION and not (slot.starts > 1 and others):
                        self._log.error("a worker cannot start; giving up", worker=slot.index)
                        return EXIT_CONFIGURATION
                    delay = slot.died()
                    self._log.error("worker died; replacing it", worker=slot.index, exit_code=code, seconds=delay)
            time.sleep(_TICK_SECONDS)
        return 0

    def _start(self, slot: "_Slot", lifeline: int, *, beside_others: bool) -> None:
        try:
            pid = slot.start(self._argv, lifeline, beside_others=beside_others)
        except OSError as error:
            # Too many processes or too little memory, say: often why a worker died, and no reason to end the others.
            delay = slot.died()
            why = error.strerror or type(error).__name__
            self._log.error("a worker cannot be started; trying again", worker=slot.index, error=why, seconds=delay)
        else:
            self._log.info("worker started", worker=slot.index, pid=pid)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        for slot in self._slots:
            if slot.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    slot.process.send_signal(number)

    def _end_workers(self) -> None:
        running = [slot.process for slot in self._slots if slot.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + self._settings.grace_seconds + 5.0
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._log.warning("a worker did not end in time; killing it", pid=process.pid)
                process.kill()
                process.wait()


class _Slot:
    """The place of one worker."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.process: subprocess.Popen[bytes] | None = None
        self.asker: Asker | None = None
        self.starts = 0
        self.start_at = 0.0
        self._started_at = 0.0
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._died_young = False

    def start(self, argv: list[str], lifeline: int, *, beside_others: bool) -> int:
        """Starts the worker and returns its process id. Raises OSError, after which `died` is to be called."""
        replaces = beside_others and self.starts > 0
        self._started_at = time.monotonic()
        asker = self.asker = Asker()
        theirs = asker.theirs.fileno()
        environment = {
            **os.environ,
            LIFELINE_ENV: str(lifeline),
            METRICS_ENV: str(theirs),
            REPLACES_ENV: "1" if replaces else "",
        }
        with hangups_held_back():  # One that is passed on before the worker has begun would end it.
            self.process = subprocess.Popen(
                argv, env=environment, pass_fds=(lifeline, theirs), stdin=subprocess.DEVNULL
            )
        asker.theirs.close()
        self.starts += 1
        return self.process.pid

    def died(self) -> float:
        """Notes the death and returns the seconds until the next start: at once after a long life, later and later
        for one that dies right away.
        """
        now = time.monotonic()
        if now - self._started_at > _HEALTHY_AFTER_SECONDS:
            self._backoff.reset()
            self._died_young = False
        delay = self._backoff.next() if self._died_young else 0.0
        self._died_young = now - self._started_at <= _HEALTHY_AFTER_SECONDS
        self.process = None
        if self.asker is not None:
            self.asker.close()
            self.asker = None
        self.start_at = now + delay
        return delay
