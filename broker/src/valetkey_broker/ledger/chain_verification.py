"""Proves the chains, or names the first record that breaks one.

It sees records that were changed, removed, put in between or reordered. It cannot see what was cut off at the end of
a chain, a chain that is gone as a whole, or one that was made anew from some record to its end by somebody who can
write to the database; for that it takes anchors: heads that were noted outside.
"""

import hashlib
import json
import re
import time
from binascii import hexlify
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from sqlalchemy import Connection, func, select

from valetkey_broker.ledger.canonical_rows import Place, id_of, of_first_form, pages, whole_rows
from valetkey_broker.ledger.chain import FORM_NAME, GENESIS, VERSION, Row, clean, hash_of
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.prune import attested
from valetkey_broker.ledger.schema import COLUMNS, IS_NO_TOKEN, checkpoints, events
from valetkey_broker.ledger.table_inspection import index_errors, is_stored, last_id
from valetkey_broker.model import EventKind, Head, Verification

_BREATH_SECONDS = 0.001
_WRITER, _SEQUENCE, _PREVIOUS, _HASH, _VERSION = (
    COLUMNS.index(name) for name in ("writer", "sequence", "previous_hash", "hash", "version")
)
_FIRST, _PRESENT = b"1", b"%d" % VERSION
_NAMED = f'["{FORM_NAME}",'.encode()
# Writers are UUIDs; the records of one that is not are looked at closely, each of them.
_FIRST_OF_CHAIN = re.compile(re.escape(_NAMED) + rb'("([0-9a-f-]{36})"),1,')
_WRITER_PLACE = slice(len(_NAMED), len(_NAMED) + len('"00000000-0000-0000-0000-000000000000"'))


class _Chain:
    """Where a chain stands, and what the line of its next record holds if that is as it ought to be."""

    __slots__ = ("begin", "broken", "digest", "known", "own", "place", "sequence", "wanted", "writer")

    def __init__(self, writer: Any, sequence: int, own: str, wanted: AbstractSet[int]) -> None:
        self.writer = writer
        self.wanted = wanted
        """Sequences whose hashes somebody has noted."""
        self.known = _NAMED + _as_json(writer) + b","
        self.place: Place | None = None
        """The last record that was seen; None before the first."""
        self.broken = False
        self.go_on(sequence, own)

    @property
    def hash(self) -> str:
        """The hash of the last record, as it stands there."""
        found = json.loads(self.own)
        return str(found)

    @property
    def id(self) -> int | None:
        """The id of the last record that was seen."""
        return None if self.place is None else id_of(self.place)

    def go_on(self, sequence: int, own: Any) -> None:
        """Stands behind a record that was looked at closely, whatever it holds."""
        self.sequence = sequence
        self.own = _as_json(str(own))
        self.begin = self.known + b"%d," % (sequence + 1)
        try:
            self.digest = bytes.fromhex(str(own))
        except ValueError:
            self.digest = b""
        if self.own != b'"%b"' % hexlify(self.digest):
            self.begin = b"none"  # Nothing can follow what is no hash; the next record is looked at closely.


def verify(
    database: Database,
    anchors: Sequence[Head],
    progress: Callable[[int], None] = lambda _: None,
    using: Callable[[Connection | None], None] = lambda _: None,
) -> Verification:
    """Checks every chain, and that each anchor is still in it. Takes 10 to 20 s of processor time a million records.

    `progress` is told of each page how many records have been checked, `using` of the connection while it is in use,
    and of None afterwards; what they raise ends the check.
    """
    with database.reading() as connection:
        try:
            using(connection)
            return _Check(database, connection, anchors, progress).run()
        finally:
            using(None)


class _Check:
    def __init__(
        self, database: Database, connection: Connection, anchors: Sequence[Head], progress: Callable[[int], None]
    ) -> None:
        self._progress = progress
        self._database = database
        self._connection = connection
        self._anchors = list(anchors)
        self._chains: dict[bytes, _Chain] = {}
        self._pruned: dict[str, Head] = {}
        self._claims: list[Head] = []
        self._wanted: dict[str, set[int]] = {}
        self._seen: dict[tuple[str, int], str] = {}
        self._errors: list[tuple[int, str]] = []

    def run(self) -> Verification:
        self._find_claims()
        for head in (*self._anchors, *self._claims):
            self._wanted.setdefault(head.writer, set()).add(head.sequence)
        for writer, sequence, own in self._connection.execute(
            select(checkpoints.c.writer, checkpoints.c.sequence, checkpoints.c.hash)
        ):
            self._pruned[writer] = Head(writer, sequence, own)
            self._chains[_as_json(writer)] = self._chain(writer, sequence, own)
        records = 0
        for page in pages(self._database, self._connection):
            self._check(page)
            records += len(page)
            self._progress(records)
            time.sleep(_BREATH_SECONDS)  # The broker goes on issuing beside this.
        self._check_last_id()
        self._check_checkpoints()
        for anchor in self._anchors:
            self._check_anchor(anchor, "noted earlier")
        broken_id, error = min(self._errors, key=_by_id, default=(0, ""))
        chains = sorted(self._chains.values(), key=lambda chain: str(chain.writer))
        heads = tuple(
            Head(clean(str(chain.writer)), chain.sequence, chain.hash) for chain in chains if chain.place is not None
        )
        return Verification(not self._errors, records, clean(error), broken_id, heads)

    def _check(self, page: Sequence[Place]) -> None:
        """Checks a page. Nearly every record follows its chain, and is done with in the fewest steps there can be."""
        chains, sha256 = self._chains, hashlib.sha256
        rows: dict[int, Row] = {}
        for place in page:
            if place.__class__ is bytes and (chain := chains.get(place[_WRITER_PLACE]) or self._begun(place)):
                form, previous, own, version, id_ = place.rsplit(b",", 4)
                if form.startswith(chain.begin) and previous == chain.own and id_ > b"1":
                    if version != _PRESENT:
                        form = of_first_form(form) if version == _FIRST else b""
                    digest = sha256(chain.digest + form + b"]").digest()
                    if own == b'"%b"' % hexlify(digest):
                        chain.digest, chain.own, chain.place = digest, own, place
                        chain.sequence += 1
                        chain.begin = b"%b%d," % (chain.known, chain.sequence + 1)
                        if chain.wanted and chain.sequence in chain.wanted:
                            self._seen[chain.writer, chain.sequence] = chain.hash
                        continue
            # What the database laid out can say yes; why it is no, the record itself tells.
            number = id_of(place)
            if number not in rows:
                odd = [each for each in page if isinstance(each, int)] if not rows else []
                rows |= whole_rows(self._connection, [number, *odd])
            self._look_closely(number, rows[number])

    def _begun(self, line: bytes) -> _Chain | None:
        """Returns the chain that a line seems to begin."""
        if not (found := _FIRST_OF_CHAIN.match(line)):
            return None
        key, writer = found.groups()
        chain = self._chains[key] = self._chain(writer.decode(), 0, GENESIS)
        return chain

    def _look_closely(self, number: int, row: Row) -> None:
        writer, sequence, own = row[_WRITER], row[_SEQUENCE], row[_HASH]
        key = _as_json(writer)
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = self._chain(writer, 0, GENESIS)
        follows = sequence == chain.sequence + 1 and row[_PREVIOUS] == chain.hash and number > 0
        if not chain.broken and (error := self._record_error(chain, number, row)):
            chain.broken = True
            self._errors.append((number, f"record {number} (writer {writer}, sequence {sequence}): {error}"))
        # A file takes text where a number belongs; what is nonsense has been named above.
        chain.go_on(chain.sequence + 1 if follows else _further(sequence, chain.sequence), own)
        chain.place = number
        if sequence in chain.wanted:
            self._seen[writer, sequence] = own

    def _chain(self, writer: Any, sequence: int, own: str) -> _Chain:
        return _Chain(writer, sequence, own, self._wanted.get(writer, frozenset()))

    def _record_error(self, chain: _Chain, number: int, row: Row) -> str:
        if number < 1:
            return "it was moved: ids begin at 1, and it had another one"
        sequence, expected = row[_SEQUENCE], chain.sequence + 1
        if sequence != expected:
            if elsewhere := self._record_at(row[_WRITER], expected):
                return f"records were reordered: sequence {expected} was due here and is record {elsewhere}"
            return f"records were removed before it: sequence {expected} was due"
        return _content_error(row) or (
            "it does not follow the record before it: one of the two was changed or put in another's place"
            if row[_PREVIOUS] != chain.hash
            else ""
        )

    def _record_at(self, writer: Any, sequence: int) -> int | None:
        place = select(events.c.id).where(events.c.writer == writer, events.c.sequence == sequence)
        try:
            return self._connection.execute(place).scalar()
        except ValueError:
            return None  # A writer that is no text.

    def _check_last_id(self) -> None:
        """Ids are the database's, so no hash covers them; but the order of a chain's is checked, and where they end.

        One beyond the last that was given would let whoever reads on from there miss what comes. The database's own
        look at its indexes is here as well: lists use them, and this check does not. First comes what is read at all.
        """
        last = last_id(self._database, self._connection)
        beyond = select(func.min(events.c.id)).where(events.c.id > last) if last is not None else None
        moved = self._connection.execute(beyond).scalar() if beyond is not None else None
        if moved is not None:
            self._errors.append((moved, f"record {moved} was moved: the last id that was given is {last}"))
        if not is_stored(self._database, self._connection):
            error = (
                "what is shown as the ledger is no table that holds records as the broker wrote them (a view, or "
                "columns that were altered): it may show others at another time"
            )
            self._errors.append((0, error))
        if wrong := index_errors(self._database, self._connection):
            error = (
                f"lists may leave records out, for the database finds its indexes wrong ({wrong}); REINDEX mends that"
            )
            self._errors.append((0, error))

    def _find_claims(self) -> None:
        pruned = select(events.c.object, events.c.resource).where(IS_NO_TOKEN, events.c.kind == EventKind.PRUNED.value)
        self._claims = [
            head for row in self._connection.execute(pruned) if (head := attested(str(row[0]), str(row[1])))
        ]

    def _check_checkpoints(self) -> None:
        """A checkpoint stands for records that are gone, so a PRUNED event in some chain has to vouch for it."""
        for writer, pruned in self._pruned.items():
            vouching = [claim for claim in self._claims if claim.writer == writer and claim.sequence >= pruned.sequence]
            chain = self._chains[_as_json(writer)]
            if not vouching and chain.id is not None:
                error = (
                    f"the chain of writer {writer} begins after sequence {pruned.sequence}, and no record says that "
                    "what was before was pruned: it was removed"
                )
                self._errors.append((chain.id, error))
            for claim in vouching:
                self._check_anchor(claim, "said to be pruned up to")

    def _check_anchor(self, anchor: Head, what: str) -> None:
        pruned = self._pruned.get(anchor.writer)
        if pruned is not None and anchor.sequence < pruned.sequence:
            return  # Pruned since; nothing is left to hold it against.
        if pruned is not None and anchor.sequence == pruned.sequence:
            found: str | None = pruned.hash
        else:
            found = self._seen.get((anchor.writer, anchor.sequence))
        if found == anchor.hash:
            return
        chain = self._chains.get(_as_json(anchor.writer)) or self._chain(anchor.writer, 0, GENESIS)
        last = chain.id or 0
        place = f"sequence {anchor.sequence} of writer {anchor.writer}, {what}, "
        if found is not None:
            self._errors.append((last, f"{place}has another hash now: the chain was made anew"))
        else:
            self._errors.append((last, f"{place}is gone: the chain was cut off, it ends at {chain.sequence}"))


def _as_json(value: Any) -> bytes:
    """Returns a value as it stands in a line; another one stands there as nothing does."""
    return json.dumps(value).encode() if isinstance(value, str) else repr(value).encode()


def _further(sequence: Any, reached: int) -> int:
    return max(sequence, reached) if isinstance(sequence, int) else reached


def _content_error(row: Row) -> str:
    if isinstance(row[_VERSION], int) and row[_VERSION] > VERSION:
        return (
            f"its form has version {row[_VERSION]}, and this broker knows {VERSION} at most: either it was "
            "changed, or a newer broker wrote it, which can check it"
        )
    try:
        fits = row[_HASH] == hash_of(row, row[_PREVIOUS])
    except (ValueError, TypeError):
        fits = False
    return "" if fits else "it was changed: its hash is not that of its contents"


def _by_id(error: tuple[int, str]) -> tuple[bool, int]:
    return not error[0], error[0]
