"""Removes what is older than the retention: the beginnings of chains only, and never without a trace.

First a PRUNED event says, in the pruning writer's own chain, up to which record a chain goes away and what its hash is.
Then the records go, a few at a time, and a checkpoint takes the place of the last of them in the same transaction; the
rest of the chain is verified from there.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, func, insert, select

from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.schema import checkpoints, events
from valetkey_broker.model import Event, EventKind, Head

# How long a transaction shall take, in seconds: so long do those wait who append meanwhile.
_TRANSACTION_SECONDS = 0.002
# How many times as long it rests after each, what the disk does for it included: others write in between. A day's
# records are gone in minutes all the same.
_REST = 2
_FIRST_AT_ONCE, _LEAST_AT_ONCE, _MOST_AT_ONCE = 12, 12, 1000
# The broker's own begin at 1; what somebody else put before goes with them.
_FIRST_SEQUENCE = -(2**63)
_OBJECT = "chains/"
_e = events.c
# Looked up for each checkpoint: a list of all writers there are would be made of all records.
_HAS_RECORDS = select(_e.id).where(_e.writer == checkpoints.c.writer).correlate(checkpoints).exists()


@dataclass(frozen=True, slots=True)
class Cut:
    """What is to go of one chain: everything up to `upto`, `records` of them."""

    upto: Head
    records: int

    def event(self, now: float) -> Event:
        """Returns the event that says so."""
        return Event(
            kind=EventKind.PRUNED,
            time=now,
            object=f"{_OBJECT}{self.upto.writer}",
            resource=f"{self.upto.sequence}:{self.upto.hash}",
            count=self.records,
        )


def attested(object_: str, resource: str) -> Head | None:
    """Returns the head that a PRUNED event names; None where it is none."""
    sequence, _, own = resource.partition(":")
    if not object_.startswith(_OBJECT) or not sequence.isdecimal():
        return None
    return Head(object_.removeprefix(_OBJECT), int(sequence), own)


def find_cuts(database: Database, before: float, now: float) -> Sequence[Cut]:
    """Returns what is to go. Times are Unix seconds.

    A checkpoint whose event will soon be pruned itself is among it, with 0 records, to be vouched for anew.
    """
    with database.reading() as connection:
        cuts = [cut for writer in _old_chains(connection, before) if (cut := _cut(connection, writer, before))]
        moved = {cut.upto.writer for cut in cuts}
        standing = select(checkpoints.c.writer, checkpoints.c.sequence, checkpoints.c.hash).where(
            checkpoints.c.time_us < round((before + now) / 2 * 1e6),
            _HAS_RECORDS,
        )
        again = [Cut(Head(*row), 0) for row in connection.execute(standing) if row[0] not in moved]
    return [*cuts, *again]


def apply_cut(database: Database, cut: Cut, now: float, progress: Callable[[int], None] = lambda _: None) -> None:
    """Removes the records of one chain, in transactions so short that those who append hardly wait for one.

    `progress` is told after each of them how many records it removed.
    """
    writer, last = cut.upto.writer, cut.upto.sequence
    at_once, begin = _FIRST_AT_ONCE, _FIRST_SEQUENCE
    with database.short_changes() as change:
        while True:
            with change() as connection:
                began = time.monotonic()
                # Not from the beginning: PostgreSQL would go over all that has just been removed, each time.
                ahead = (_e.writer == writer, _e.sequence >= begin)
                first = connection.execute(select(func.min(_e.sequence)).where(*ahead)).scalar()
                upto = last if first is None else min(last, first + at_once - 1)
                gone = first is None or first > last
                if (not gone or cut.records == 0) and upto > 0:
                    _move_checkpoint(connection, writer, upto, now)
                if not gone:
                    connection.execute(delete(events).where(*ahead, _e.sequence <= upto))
                took = time.monotonic() - began
            progress(0 if first is None or gone else upto - first + 1)
            if gone or upto == last:
                return
            begin = upto + 1
            at_once = max(_LEAST_AT_ONCE, min(_MOST_AT_ONCE, round(at_once * _TRANSACTION_SECONDS / took)))
            time.sleep(_REST * (time.monotonic() - began))


def forget_ended(database: Database, before: float) -> None:
    """Removes the checkpoints of chains of which nothing has been left for as long as records are kept."""
    with database.changing() as connection:
        connection.execute(delete(checkpoints).where(checkpoints.c.time_us < round(before * 1e6), ~_HAS_RECORDS))


def _old_chains(connection: Connection, before: float) -> Iterator[str]:
    """Yields the writers whose first record is older: a look at each chain, and at no other record of it."""
    following = select(_e.writer, _e.time_us).order_by(_e.writer, _e.sequence).limit(1)
    place = connection.execute(following).first()
    while place is not None:
        if place.time_us < round(before * 1e6):
            yield place.writer
        place = connection.execute(following.where(_e.writer > place.writer)).first()


def _cut(connection: Connection, writer: str, before: float) -> Cut | None:
    own = _e.writer == writer
    first = connection.execute(select(func.min(_e.sequence)).where(own)).scalar_one()
    kept = connection.execute(
        select(_e.sequence).where(own, _e.time_us >= round(before * 1e6)).order_by(_e.sequence).limit(1)
    ).scalar()
    before_kept = own if kept is None else and_(own, _e.sequence < kept)
    newest_first = select(_e.sequence, _e.hash).where(before_kept).order_by(_e.sequence.desc()).limit(1)
    last = connection.execute(newest_first).first()
    if last is None:
        return None  # Its clock went back: an old time behind a newer one stays until that one goes.
    return Cut(Head(writer, last.sequence, last.hash), last.sequence - first + 1)


def _move_checkpoint(connection: Connection, writer: str, upto: int, now: float) -> None:
    own = checkpoints.c.writer == writer
    digest = connection.execute(select(_e.hash).where(_e.writer == writer, _e.sequence == upto)).scalar()
    if digest is None:
        digest = connection.execute(select(checkpoints.c.hash).where(own, checkpoints.c.sequence == upto)).scalar()
    if digest is not None:
        connection.execute(delete(checkpoints).where(own))
        connection.execute(
            insert(checkpoints).values(writer=writer, sequence=upto, hash=digest, time_us=round(now * 1e6))
        )
