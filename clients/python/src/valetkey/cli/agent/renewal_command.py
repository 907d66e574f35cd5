"""The command that runs once files were written anew: it may fail, or hang, and the agent goes on."""

import asyncio
import os
import signal
from contextlib import suppress

from valetkey.cli.agent.configuration import CommandPlan
from valetkey.cli.agent.log import AgentLog
from valetkey.cli.exec_command import IDENTITY

_SHOWN_BYTES = 1000
_GRACE_SECONDS = 2.0


class RenewalCommand:
    """Runs one command, one at a time; what is wanted while it runs is one more run after it."""

    def __init__(self, plan: CommandPlan, resource: str, log: AgentLog) -> None:
        self._plan = plan
        self._resource = resource
        self._log = log
        self._environment = {name: value for name, value in os.environ.items() if name not in IDENTITY}
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """Has it run soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Runs it whenever it is wanted, until it is cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._once()

    async def _once(self) -> None:
        arguments = self._plan.arguments
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # to end what it starts along with it
            )
        except OSError as error:
            self._failed(f"cannot be run: {error.strerror}")
            return
        said = asyncio.ensure_future(_tail(process))
        try:
            async with asyncio.timeout(self._plan.seconds):
                code = await process.wait()
        except TimeoutError:
            self._failed(f"still ran after {self._plan.seconds:g} s, and was killed")
            return
        finally:
            if process.returncode is None:
                _kill(process)
            # What it left running may hold its output open.
            await asyncio.wait([said], timeout=_GRACE_SECONDS)
            said.cancel()
        shown = said.result() if said.done() and not said.cancelled() else ""
        if code:
            ended = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
            self._failed(ended, output=shown)
        else:
            self._log.info("command on renewal done", resource=self._resource)

    def _failed(self, why: str, **more: str) -> None:
        command = self._plan.arguments[0]
        self._log.error(f"command on renewal {why}", resource=self._resource, command=command, **more)


async def _tail(process: asyncio.subprocess.Process) -> str:
    """Returns the end of what it says, and reads all of it: a full pipe would stop it."""
    kept = b""
    while process.stdout is not None and (chunk := await process.stdout.read(4096)):
        kept = (kept + chunk)[-_SHOWN_BYTES:]
    return kept.decode(errors="replace").strip()


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
