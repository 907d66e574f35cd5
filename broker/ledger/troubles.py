"""Why the ledger cannot be used: one word for programs, a sentence for people, from each driver's errors."""

import sqlite3

import psycopg
from psycopg import errors as pg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from broker.errors import BrokerError, Reason

RETRY_AFTER_SECONDS = 1.0

_SENTENCES = {
    "disk-full": "its disk is full",
    "read-only": "its database is read-only",
    "locked": "its database is locked by another process",
    "io-error": "its disk fails",
    "corrupt": "its file is damaged, or is no database",
    "replaced": "its own last record is gone: the database was replaced, emptied or put back to an earlier state",
    "file-missing": "its file is gone or cannot be opened",
    "schema-missing": "its tables are missing",
    "database-away": "its database does not answer",
    "timeout": "its database takes too long",
    "too-many-waiting": "too many records wait to be written",
    "closed": "it is closed",
    "error": "its database refuses the write",
}
_SQLITE = {
    sqlite3.SQLITE_FULL: "disk-full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_IOERR: "io-error",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "corrupt",
    sqlite3.SQLITE_CANTOPEN: "file-missing",
    sqlite3.SQLITE_ERROR: "schema-missing",
    sqlite3.SQLITE_INTERRUPT: "timeout",
}
_POSTGRES: tuple[tuple[type[Exception], str], ...] = (
    (pg.DiskFull, "disk-full"),
    (pg.ReadOnlySqlTransaction, "read-only"),
    (pg.LockNotAvailable, "locked"),
    (pg.QueryCanceled, "timeout"),
    (pg.UndefinedTable, "schema-missing"),
    (pg.InsufficientPrivilege, "read-only"),
    (psycopg.OperationalError, "database-away"),
)


class LostHeadError(Exception):
    """The writer's own last record is not in the database any more."""


def cause_of(error: BaseException) -> str:
    """Returns the word for what went wrong."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, LostHeadError):
        return "replaced"
    if isinstance(error, (TimeoutError, PoolTimeoutError)):
        return "timeout"
    if isinstance(error, sqlite3.Error):
        # The low byte is the primary code. Errors of the module itself have none.
        return _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "error")
    if isinstance(error, OSError):
        return "file-missing" if isinstance(error, FileNotFoundError) else "io-error"
    return next((cause for kind, cause in _POSTGRES if isinstance(error, kind)), "error")


def unavailable(cause: str) -> BrokerError:
    """Returns the error of a ledger that cannot be used, for a caller."""
    return BrokerError(
        Reason.LEDGER_UNAVAILABLE,
        f"the ledger cannot be used: {_SENTENCES[cause]}; nothing is issued until it can",
        {"cause": cause},
        retry_after=RETRY_AFTER_SECONDS,
    )


def sentence(cause: str) -> str:
    """Returns what `cause` means."""
    return _SENTENCES[cause]
