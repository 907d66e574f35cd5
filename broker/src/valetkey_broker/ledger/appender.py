"""The statement that appends to the ledger, as fast as each driver allows.

What is appended is durable when that returns. It comes only after the record that this writer wrote last, so that a
ledger which lost it takes nothing more.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import BigInteger

from valetkey_broker.ledger.chain import Row, head_after
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.errors import LostHeadError
from valetkey_broker.ledger.schema import COLUMNS, events
from valetkey_broker.model import Head

_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
_HEAD = "SELECT sequence, hash FROM {1}ledger_events WHERE writer = {0} ORDER BY sequence DESC LIMIT 1"
_PRUNED_HEAD = "SELECT sequence, hash FROM {1}ledger_checkpoints WHERE writer = {0}"
_POSTGRES_TYPES = ", ".join(
    f'"{name}" {"bigint" if isinstance(events.c[name].type, BigInteger) else "text"}' for name in COLUMNS
)
# A statement of SQLite has 32,766 values at most, and each number of rows is a statement of its own to be kept ready.
_MOST_ROWS = 256
# Its place in front of what is appended; the head of a writer that was idle for long may have been pruned.
_STILL_THERE = (
    "EXISTS (SELECT 1 FROM {3}ledger_events WHERE writer = {0} AND sequence = {1} AND hash = {2}) "
    "OR EXISTS (SELECT 1 FROM {3}ledger_checkpoints WHERE writer = {0} AND sequence = {1} AND hash = {2}) "
    "OR {1} = 0"
)


class Appender(Protocol):
    """A connection for writing. Raises the errors of its driver, and LostHeadError."""

    def connect(self) -> None:
        """Connects anew."""
        ...

    def head(self, writer: str) -> tuple[int, str]:
        """Returns the sequence and hash of the writer's last record, pruned or not; (0, "") where there is none."""
        ...

    def append(self, after: Head, rows: Sequence[Row]) -> None:
        """Writes `rows`, all or none, behind `after`; returns when they are durable."""
        ...

    def probe(self) -> None:
        """Writes something that is no record, to learn whether writing works."""
        ...

    def interrupt(self) -> None:
        """Ends what hangs, from another thread, as far as that is possible."""
        ...

    def close(self) -> None:
        """Closes the connection. Never raises."""
        ...


def make_appender(database: Database) -> Appender:
    """Returns the appender for the kind of database."""
    return SqliteAppender(database) if database.is_sqlite else PostgresAppender(database)


class _Base:
    _mark: str

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None

    def connect(self) -> None:
        self.close()
        self._connection = self._database.writer()

    def head(self, writer: str) -> tuple[int, str]:
        for query in (_HEAD, _PRUNED_HEAD):
            row = self._connection.execute(
                query.format(self._mark, self._database.writers_prefix), (writer,)
            ).fetchone()
            if row is not None:
                return int(row[0]), str(row[1])
        return 0, ""

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


class SqliteAppender(_Base):
    """Writes to a file; notices when another one has taken its place."""

    _mark = "?"

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._wal_path = Path(f"{database.path}-wal")
        self._file: tuple[int, int] = (0, 0)
        self._wal: tuple[int, int] = (0, 0)
        self._size = 0
        self._lock = -1

    def connect(self) -> None:
        # Checked before anything is opened: SQLite would lay the WAL of the file that was here over the one that is.
        if any(self._file) and _inode(self._database.path) != self._file:
            raise LostHeadError
        super().connect()
        self._lock = self._database.open_lock()
        # The first read opens the WAL beside the file, which stays as long as this connection does.
        self._connection.execute("SELECT 1 FROM ledger_probe").fetchone()
        self._size = 0
        self._file = _inode(self._database.path)
        self._wal = _inode(self._wal_path)

    def append(self, after: Head, rows: Sequence[Row]) -> None:
        self._check_files()
        with self._turn():
            if len(rows) <= _MOST_ROWS:
                self._insert(after, rows)  # A statement is a transaction of its own.
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for start in range(0, len(rows), _MOST_ROWS):
                    some = rows[start : start + _MOST_ROWS]
                    self._insert(after, some)
                    after = head_after(some[-1])
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(*self._database.errors):  # SQLite may have rolled back by itself.
                    self._connection.execute("ROLLBACK")
                raise

    def probe(self) -> None:
        with self._turn():
            self._connection.execute("UPDATE ledger_probe SET time_us = ?", [time.time_ns() // 1000])

    def close(self) -> None:
        super().close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _insert(self, after: Head, rows: Sequence[Row]) -> None:
        values = [value for row in rows for value in row]
        values += (after.writer, after.sequence, after.hash)
        if self._connection.execute(_sqlite_insert(len(rows)), values).rowcount != len(rows):
            raise LostHeadError

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # This process's turn: see Database.turn.
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def interrupt(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def _check_files(self) -> None:
        # By path only: closing a second descriptor of the file would drop SQLite's locks on it.
        try:
            file = self._database.path.stat()
        except FileNotFoundError:
            raise LostHeadError from None
        same = (file.st_dev, file.st_ino) == self._file and _inode(self._wal_path) == self._wal
        # A ledger never shrinks: pruned room is used again.
        if not same or file.st_size < self._size:
            raise LostHeadError
        self._size = file.st_size


def _inode(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino


@lru_cache(maxsize=64)
def _sqlite_insert(rows: int) -> str:
    # One statement instead of one a row: the driver gives up the GIL at each, and has to wait for it afterwards.
    marks = ", ".join([f"({', '.join('?' * len(COLUMNS))})"] * rows)
    first = rows * len(COLUMNS)
    there = _STILL_THERE.format(*(f"?{first + number}" for number in (1, 2, 3)), "")
    return f"INSERT INTO ledger_events ({_NAMES}) SELECT * FROM (VALUES {marks}) WHERE {there}"  # noqa: S608 (our constants)


class PostgresAppender(_Base):
    """Writes to a server.

    Nothing is locked by hand, where others could hold it: the table's own lock, which an INSERT takes before it takes
    ids, tells who reads in the order of ids for which transactions to wait; see high_water_mark.
    """

    _mark = "%s"

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._closing = threading.Lock()

    def append(self, after: Head, rows: Sequence[Row]) -> None:
        records = json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], separators=(",", ":"))
        parameters = {"rows": records, "writer": after.writer, "sequence": after.sequence, "hash": after.hash}
        if self._connection.execute(
            _postgres_insert(self._database.writers_prefix), parameters, prepare=True
        ).rowcount != len(rows):
            raise LostHeadError

    def probe(self) -> None:
        query = f"UPDATE {self._database.writers_prefix}ledger_probe SET time_us = %s"  # noqa: S608 (our own)
        self._connection.execute(query, [time.time_ns() // 1000])

    def interrupt(self) -> None:
        with self._closing:
            connection = self._connection
            if connection is None or connection.closed:
                return
            # Cancelling asks the server, which may be the one that hangs. Without its socket the wait ends at once.
            with contextlib.suppress(*self._database.errors), socket.socket(fileno=os.dup(connection.fileno())) as copy:
                copy.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._closing:
            super().close()


@lru_cache(maxsize=4)
def _postgres_insert(prefix: str) -> str:
    there = _STILL_THERE.format("%(writer)s::text", "%(sequence)s::bigint", "%(hash)s::text", prefix)
    return (
        f"INSERT INTO {prefix}ledger_events ({_NAMES}) SELECT new.* FROM json_to_recordset(%(rows)s::json) "  # noqa: S608 (our constants)
        f'AS new({_POSTGRES_TYPES}) WHERE {there} ORDER BY new."sequence"'
    )
