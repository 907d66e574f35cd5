"""Processes that were forked instead of started."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence


class ForkedProcess:
    """A child of this process, as subprocess.Popen is one, that no program was started in."""

    def __init__(self, pid: int, args: Sequence[str]) -> None:
        self.pid = pid
        self.args = args
        self.returncode: int | None = None
        self._waiting = threading.Lock()

    def poll(self) -> int | None:
        """Returns the exit code, negative for a signal; None while it runs."""
        return self._ask(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        if timeout is not None:
            began = time.monotonic()
            while self.poll() is None:
                waited = time.monotonic() - began
                if waited > timeout:
                    raise subprocess.TimeoutExpired(self.args, timeout)
                time.sleep(min(max(0.005, waited / 20), 0.05))
        code = self._ask(0)
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ask(self, options: int) -> int | None:
        with self._waiting:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, options)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode
