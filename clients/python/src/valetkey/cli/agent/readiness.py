"""A file that is there as long as everything is fresh, for probes and for whoever waits."""

import asyncio
from datetime import datetime
from pathlib import Path

from valetkey.cli.agent.log import AgentLog
from valetkey.cli.agent.output_files import remove, write_atomically
from valetkey.cli.agent.thread_pool import in_thread
from valetkey.errors import ValetKeyError
from valetkey.times import utc

_TRY_AGAIN_SECONDS = 1.0
# It holds a time, and no secret: probes of whichever user may look for it.
_MODE = 0o644


class Readiness:
    """Follows what is told to it, one write at a time."""

    def __init__(self, path: Path | None, log: AgentLog) -> None:
        self.path = path
        self._log = log
        self._wanted: datetime | None = None
        self._shown: datetime | None = None
        self._failed = False
        self._news = asyncio.Event()

    def show(self, until: datetime | None) -> None:
        """Has the file say until when everything is fresh; None has it removed."""
        if (self._wanted is None) != (until is None):
            if until is None:
                self._log.warning("not ready")
            else:
                self._log.info("ready", until=utc(until))
        self._wanted = until
        self._news.set()

    async def run(self) -> None:
        """Follows, until it is cancelled; begins with no file, whatever an agent that was killed has left."""
        await self._follow(None)
        while True:
            await self._news.wait()
            self._news.clear()
            if self._failed or self._wanted != self._shown:
                await self._follow(self._wanted)

    async def end(self) -> None:
        """Removes the file for good."""
        await self._follow(None)

    async def _follow(self, until: datetime | None) -> None:
        self._shown, self._failed = until, False
        if self.path is None:
            return
        try:
            if until is None:
                await in_thread(remove, self.path)
            else:
                await in_thread(write_atomically, self.path, f"{utc(until)}\n", mode=_MODE)
        except ValetKeyError as error:
            self._log.error("the readiness file is not right; trying again", cause=error.message)
            self._failed = True
            asyncio.get_running_loop().call_later(_TRY_AGAIN_SECONDS, self._news.set)
