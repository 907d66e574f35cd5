"""Tokens out of a stream of the broker's, for the tasks of one event loop."""

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from valetkey.errors import UnavailableError, ValetKeyError
from valetkey.values import Token

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
# How long a request waits for a token where the last one has ended; tools give up somewhat later.
_WAIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class HeldToken:
    """A token as the proxy takes it."""

    sas: str = field(repr=False)
    url: str
    expires_at: datetime

    @classmethod
    def of(cls, token: Token) -> "HeldToken":
        """Returns a token of the client's."""
        return cls(token.sas_token, token.resource.url, token.expire_time)


class WatchedTokens:
    """Holds the newest token while it is entered: `watch` yields them, `issue` asks for one outside of the turn."""

    def __init__(self, watch: Callable[[], Generator[Token, None, None]], issue: Callable[[], Token]) -> None:
        self._watch = watch
        self._issue = issue
        self._token: HeldToken | None = None
        self._error: ValetKeyError | None = None
        self._closed = threading.Event()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._heard = asyncio.Event()
        self._renewing = asyncio.Lock()
        threading.Thread(target=self._follow, name="valetkey-proxy-tokens", daemon=True).start()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._closed.set()

    @property
    def closed(self) -> bool:
        """Whether nobody wants its tokens any more."""
        return self._closed.is_set()

    async def current(self) -> HeldToken:
        """Returns the newest token; waits for one where there is none, and raises why none came."""
        if (token := self._alive()) is not None:
            return token
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS):
                while self._alive() is None:
                    if self._error is not None and self._token is None:
                        break
                    await self._heard.wait()
                    self._heard.clear()
        if (token := self._alive()) is not None:
            return token
        raise self._error or UnavailableError("no token came from the broker")

    async def renew(self, after: HeldToken) -> HeldToken:
        """Returns a newer token than `after`, asked for once, however many ask for it."""
        async with self._renewing:
            if self._token is None or self._token.sas == after.sas:
                self._token = HeldToken.of(await asyncio.to_thread(self._issue))
            return self._token

    def _alive(self) -> HeldToken | None:
        return self._token if self._token and self._token.expires_at > datetime.now(UTC) else None

    def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closed.is_set():
            try:
                for token in self._watch():
                    self._tell(HeldToken.of(token), None)
                    pause = _FIRST_PAUSE
                    if self._closed.is_set():
                        return
            except ValetKeyError as error:
                self._tell(None, error)
            self._closed.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _tell(self, token: HeldToken | None, error: ValetKeyError | None) -> None:
        def take() -> None:
            self._token = token or self._token
            self._error = error
            self._heard.set()

        with suppress(RuntimeError):  # The loop has ended.
            self._loop.call_soon_threadsafe(take)
