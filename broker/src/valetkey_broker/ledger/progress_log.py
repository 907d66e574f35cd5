"""How far work on the whole ledger has come, for the log."""

import time

import structlog

_EVERY_SECONDS = 10.0


class Progress:
    """Tells the log every 10 s how many records are done: what takes less is not worth a line."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = 0
        self._told = time.monotonic()
        self._log = structlog.get_logger()

    def more(self, records: int) -> None:
        """Notes that so many more are done."""
        self.reached(self._done + records)

    def reached(self, records: int) -> None:
        """Notes that so many are done in all."""
        self._done = records
        if time.monotonic() - self._told >= _EVERY_SECONDS:
            self._told = time.monotonic()
            self._log.info(self._what, records=records)
