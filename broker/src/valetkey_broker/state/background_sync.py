"""Keeps memory current in the background, and says how current it is."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable

import structlog

from valetkey_broker.concurrency.backoff import Backoff, spread
from valetkey_broker.concurrency.seconds_passed import SecondsPassed, seconds_passed
from valetkey_broker.errors import BrokerError, not_serving, suspended_meanwhile, vault_away_too_long, vault_unavailable
from valetkey_broker.ports import StateStore
from valetkey_broker.settings import VaultSettings
from valetkey_broker.state.repository import StateRepository

_OPEN_BACKOFF_SECONDS = 5.0
# Polls take a read or two. One of this length reads everything anew, or Vault is slow.
_LONG_POLL_SECONDS = 30.0


class StateSync:
    """Opens the store, loads, then polls. `on_change` hears True when requests can be answered, False when not."""

    def __init__(
        self,
        store: StateStore,
        repository: StateRepository,
        settings: VaultSettings,
        on_change: Callable[[bool], None],
        passed: SecondsPassed = seconds_passed,
    ) -> None:
        self._store = store
        self._repository = repository
        self._settings = settings
        self._on_change = on_change
        self._log = structlog.get_logger()
        # Staleness must not depend on somebody setting the clock back, and a machine may have been suspended.
        self._passed = passed
        self._missed = passed.missed()
        self._at_once = asyncio.Event()
        self._current_at: float | None = None
        self._polling_since: float | None = None
        self._usable = False
        self._polled = asyncio.Event()
        self.attempted = asyncio.Event()
        """Set once Vault was tried for the first time, whatever came of it."""
        self.ready = asyncio.Event()
        """Set once everything was read that requests are answered from, credentials included."""

    def require_usable(self) -> None:
        """Raises BrokerError while nothing was loaded yet, or memory is older than the settings allow.

        So it does where the machine was suspended, until Vault was asked what changed meanwhile. It may be away then.
        """
        if self._usable and self._current_at is not None:
            now, missed = self._passed.look()
            if missed - self._missed > self._settings.poll_seconds:
                self._at_once.set()
                raise suspended_meanwhile()
            if now - self._current_at <= self._settings.max_stale_seconds or self._is_between_polls(now):
                return
        if self._current_at is None:
            raise not_serving()
        raise vault_away_too_long(self._settings.max_stale_seconds)

    def seconds_since_current(self) -> float | None:
        """Returns how old memory is, in seconds: since when Vault has said nothing. None before it was read."""
        return None if self._current_at is None else self._passed() - self._current_at

    def seconds_left(self) -> float:
        """Returns for how many seconds requests would still be answered if Vault said nothing from now on."""
        age = self.seconds_since_current()
        return 0.0 if age is None else max(0.0, self._settings.max_stale_seconds - age)

    def seconds_away(self) -> float | None:
        """Returns for how many seconds Vault has not answered, None while it does."""
        return None if self._failing_since is None else self.seconds_since_current()

    async def run(self, first: Callable[[], Awaitable[None]] | None = None) -> None:
        """Runs until cancelled. `first` is done before Vault is asked, and so before requests are answered."""
        if first is not None:
            await first()
        await self._start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._poll(), name="state-poll")
            # Beside the polling: neither may keep the news waiting, however long Vault takes.
            group.create_task(self._resync(), name="state-resync")
            group.create_task(self._settle(), name="state-settle")
            group.create_task(self._watch_long_poll(), name="state-long-poll")

    async def _poll(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(spread(self._settings.poll_seconds)):
                    await self._at_once.wait()
            self._at_once.clear()
            missed, began = self._passed.missed(), self._passed()
            self._polling_since = began
            try:
                await self._repository.refresh()
            except BrokerError as error:
                self._failed(error)
            except Exception as error:  # noqa: BLE001 (a loop that ends would leave revoked keys valid for ever)
                self._failed(vault_unavailable(type(error).__qualname__, "error"))
            else:
                self._succeeded(began)
                self._polled.set()
            finally:
                self._polling_since, self._missed = None, missed

    async def _watch_long_poll(self) -> None:
        """Stops serving when memory is too old, also where a poll goes on and on: Vault answers, and takes its time."""
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            if self._passed() - (self._polling_since or math.inf) > _LONG_POLL_SECONDS:
                self._stop_if_too_old()

    async def _resync(self) -> None:
        while True:
            try:
                await self._repository.keep_snapshot()
            except Exception as error:  # noqa: BLE001 (what is only a short cut must not end the polling beside it)
                self._log.info("the snapshot for the next start was not written", error=_told(error))
            if self._repository.complete:
                await asyncio.sleep(spread(self._settings.resync_seconds))
            try:
                await self._repository.load(gently=True)
            except Exception as error:  # noqa: BLE001 (as above; the polling sees and says that Vault is away)
                self._log.warning("reading everything anew failed; it is tried again", error=_told(error))
                await asyncio.sleep(spread(self._settings.poll_seconds))

    async def _settle(self) -> None:
        while True:
            await self._polled.wait()
            self._polled.clear()
            try:
                await self._repository.settle_abandoned()
            except Exception as error:  # noqa: BLE001 (as above)
                self._log.error("settling unfinished changes failed; it is tried again", error=_told(error))

    async def _start(self) -> None:
        pauses = Backoff(0.25, _OPEN_BACKOFF_SECONDS)
        while True:
            missed, began = self._passed.missed(), self._passed()
            try:
                await self._store.open()
                await self._repository.load()
            except BrokerError as error:
                self._log.warning("Vault is not usable yet; trying again", error=error.message, **error.metadata)
            except Exception as error:  # noqa: BLE001 (ending here would leave a broker that never serves, in silence)
                self._log.error("Vault is not usable yet; trying again", error=type(error).__qualname__)
            else:
                self._missed = missed
                self._succeeded(began)
                await self._repository.credentials_read()
                self.ready.set()
                return
            finally:
                self.attempted.set()
            await asyncio.sleep(pauses.next())

    def _succeeded(self, began: float) -> None:
        """Takes note of a reading that `began` then: of what came after it, it knows nothing."""
        if self._failing_since is not None:
            self._log.info("Vault is back", away_seconds=round(self._passed() - self._failing_since, 1))
        self._failing_since = None
        self._repository.catching_up.vault_away = False
        self._current_at = began
        self._set_usable(usable=True)

    def _failed(self, error: BrokerError) -> None:
        now = self._passed()
        if self._failing_since is None:
            self._failing_since = now
            self._repository.catching_up.vault_away = True
            self._log.warning(
                "Vault is away; serving from memory",
                error=error.message,
                until_seconds=self._settings.max_stale_seconds,
                **error.metadata,
            )
        self._stop_if_too_old()

    def _stop_if_too_old(self) -> None:
        if self._is_too_old():
            self._set_usable(usable=False)

    def _is_between_polls(self, now: float) -> bool:
        """Tells whether Vault answered the last poll, and the next is not overdue, however little age is allowed."""
        if self._failing_since is not None or self._current_at is None:
            return False
        if self._polling_since is not None:  # One that is answered late is no answer as yet.
            return now - self._polling_since < self._settings.timeout_seconds
        return now - self._current_at < 2 * self._settings.poll_seconds + _LONG_POLL_SECONDS

    def _is_too_old(self) -> bool:
        age = self.seconds_since_current()
        return age is not None and age > self._settings.max_stale_seconds

    _failing_since: float | None = None

    def _set_usable(self, *, usable: bool) -> None:
        if usable != self._usable:
            self._usable = usable
            self._log.info("serving" if usable else "not serving: memory is too old")
            self._on_change(usable)


def _told(error: Exception) -> str:
    return error.message if isinstance(error, BrokerError) else type(error).__qualname__
