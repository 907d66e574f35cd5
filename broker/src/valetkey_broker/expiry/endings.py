"""Everything that ends, gathered from those who know."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from valetkey_broker.model.ending import Ending
from valetkey_broker.ports import Clock

Source = Callable[[], Awaitable[Iterable[Ending]]]
"""Tells what it knows. It never raises: of what it cannot tell it says why in an Ending without an end."""


class Endings:
    """Asks all sources. Where two know of the same thing, the earlier end counts, and the first one's way to mend it.

    So a source that learns ends from the cloud needs only to be added; what operators noted down stays beside it.
    """

    def __init__(self, sources: Iterable[Source], clock: Clock) -> None:
        self._sources = list(sources)
        self._clock = clock

    def add(self, source: Source) -> None:
        """Has `source` asked, too."""
        self._sources.append(source)

    async def all(self) -> Sequence[Ending]:
        """Returns everything that can end, the first to end first; what has no known end comes last."""
        found: dict[tuple[str, str], Ending] = {}
        for endings in await asyncio.gather(*(source() for source in self._sources)):
            for each in endings:
                key = each.kind.value, each.name
                before = found.get(key)
                found[key] = each if before is None else _earlier(before, each)
        return sorted(found.values(), key=_turn)

    async def within(self, span: timedelta) -> Sequence[Ending]:
        """Returns what counts as ended by `span` from now, or does already, the first to end first.

        What could not be looked at comes last: it may be among them.
        """
        until = _moment(self._clock() + span.total_seconds())
        return [each for each in await self.all() if each.not_looked_at or each.ends_before(until)]


def _turn(ending: Ending) -> tuple[bool, float, str, str]:
    end = ending.ends_at
    return end is None, end.timestamp() if end is not None else 0.0, ending.kind.value, ending.name


def _earlier(one: Ending, other: Ending) -> Ending:
    if other.ends_at is None or (one.ends_at is not None and one.ends_at <= other.ends_at):
        return one
    mend = one.mend if one.ends_at is not None else other.mend  # Else it only says how to note an end down.
    return replace(other, mend=mend or one.mend or other.mend, margin=max(one.margin, other.margin))


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)
