"""`AsyncTokenSource`: a current token for one scope, for tasks."""

import asyncio
import functools
from types import TracebackType
from typing import Any, Self

from valetkey.token_source import TokenSource
from valetkey.token_values import Token


class AsyncTokenSource:
    """The same as TokenSource, awaited: it shares its stream with all that want the same, tasks and threads.

    Takes the arguments of TokenSource. A token that is good comes without a change of task.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Makes a source, as `TokenSource` does, and calls nobody yet."""
        self._source = TokenSource(*arguments, **named)
        self._waiting: dict[tuple[int, str], asyncio.Future[Token]] = {}

    @classmethod
    def of(cls, source: TokenSource) -> Self:
        """Returns a source for tasks that is, for threads, `source`: what closes one closes both."""
        made = cls.__new__(cls)
        made._source, made._waiting = source, {}  # noqa: SLF001 (its own)
        return made

    async def current(self) -> Token:
        """Returns a token that is good for some seconds at least; raises as `TokenSource.current` does."""
        return self._source.at_hand() or await self._once("", self._source.current)

    async def renew(self, after: Token) -> Token:
        """Returns a newer token than `after`; raises as `TokenSource.renew` does."""
        return await self._once(after.lease_id, lambda: self._source.renew(after))

    def may_renew(self, after: Token) -> bool:
        """Tells whether a newer token may help, as `TokenSource.may_renew` does."""
        return self._source.may_renew(after)

    def peek(self) -> Token | None:
        """Returns the current token if there is a good one, and asks for nothing."""
        return self._source.peek()

    async def close(self) -> None:
        """Ends its part of the renewal, as `TokenSource.close` does."""
        await asyncio.to_thread(self._source.close)

    async def _once(self, what: str, ask: Any) -> Token:
        """Asks once for all tasks that want the same: threads of the default executor are few."""
        loop = asyncio.get_running_loop()
        key = (id(loop), what)
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = asyncio.ensure_future(asyncio.to_thread(ask))
            waiting.add_done_callback(functools.partial(self._over, key))
        # Who gives up waiting ends nothing for the others.
        return await asyncio.shield(waiting)

    def _over(self, key: tuple[int, str], done: asyncio.Future[Token]) -> None:
        self._waiting.pop(key, None)
        # Who waited may have given up: asyncio would log what nobody looked at, traceback and all.
        if not done.cancelled():
            done.exception()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"Async{self._source!r}"

    def __reduce__(self) -> tuple[Any, ...]:
        build, (_, scope, parameters) = self._source.__reduce__()
        return build, (type(self), scope, parameters)
