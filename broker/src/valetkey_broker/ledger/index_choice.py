"""Several conditions at once: the records are looked up by the one that fewest match."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, literal, select

from valetkey_broker.ledger.schema import events

# So many are looked for of each, to begin with. The last come out of an index alone in a millisecond or two.
_LIMITS = (100, 1000, 10_000)


@dataclass(frozen=True, slots=True)
class Equal:
    """That a column with an index holds a value; `part` is the condition of an index on a part of the records."""

    column: ColumnElement[str]
    value: str
    part: ColumnElement[bool] | None = None

    @property
    def by_index(self) -> ColumnElement[bool]:
        """The condition such that the index can be used."""
        holds = self.column == self.value
        return holds if self.part is None else and_(self.part, holds)

    @property
    def by_look(self) -> ColumnElement[bool]:
        """The condition such that no index can be used: that is on the column, and not on what is made of it."""
        return self.column + literal("") == self.value


def narrowest_first(connection: Connection, wanted: Sequence[Equal]) -> list[ColumnElement[bool]]:
    """Returns the conditions such that the database looks up by the one that fewest records match.

    SQLite knows no numbers and would take any of them. PostgreSQL has statistics, but takes what gives the order, too,
    and then may go through a million records of a connector for a kind of which it has none.
    """
    if len(wanted) < 2:  # noqa: PLR2004 (more than one)
        return [each.by_index for each in wanted]
    for limit in _LIMITS:
        counts = [_count(connection, each, limit) for each in wanted]
        if min(counts) < limit:
            narrowest = wanted[counts.index(min(counts))]
            return [each.by_index if each is narrowest else each.by_look for each in wanted]
    return [each.by_index for each in wanted]


def _count(connection: Connection, wanted: Equal, limit: int) -> int:
    found = select(events.c.id).where(wanted.by_index).limit(limit).subquery()
    return int(connection.execute(select(func.count()).select_from(found)).scalar_one())
