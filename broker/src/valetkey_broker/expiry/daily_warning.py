"""Once a day in the log: what ends soon."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from valetkey_broker.concurrency.backoff import spread
from valetkey_broker.expiry.endings import Endings
from valetkey_broker.model.ending import Ending

_DAY_SECONDS = 24 * 3600.0
_MOST = 20


class DailyWarning:
    """Says what ends within `days`: a line at warning with the first twenty, or one at info that nothing does.

    Either names what could not be looked at.
    """

    def __init__(self, endings: Endings, days: int) -> None:
        self._endings = endings
        self._days = days
        self._log = structlog.get_logger()

    async def run(self, ready: Callable[[], Awaitable[object]]) -> None:
        """Says it once `ready` returns, and then every day, until cancelled."""
        await ready()
        while True:
            try:
                await self.tell()
            except Exception as error:  # noqa: BLE001 (a loop that ends would never say anything again)
                self._log.error("what ends soon cannot be told", error=type(error).__qualname__)
            await asyncio.sleep(spread(_DAY_SECONDS))

    async def tell(self) -> None:
        """Writes the line."""
        found = await self._endings.within(timedelta(days=self._days))
        soon = [each for each in found if not each.not_looked_at]
        unseen = [f"{each.kind.value} {each.name}: {each.known_by}" for each in found if each.not_looked_at]
        more = {"not_looked_at": unseen} if unseen else {}
        if not soon:
            self._log.info("nothing that the broker lives by ends soon", within_days=self._days, **more)
            return
        self._log.warning(
            "what the broker lives by ends soon; see: valetkey expiring",
            within_days=self._days,
            count=len(soon),
            ends=[_line(each) for each in soon[:_MOST]],
            **more,
        )


def _line(ending: Ending) -> str:
    return f"{ending.kind.value} {ending.name} {ending.ends_at:%Y-%m-%dT%H:%MZ}: {ending.mend}"
