"""Why the ledger cannot be used: one word for programs, a sentence for people, from each driver's errors."""

import sqlite3
import sys

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from valetkey_broker.errors import BrokerError, ledger_unavailable

_SENTENCES = {
    "disk-full": "its disk is full",
    "read-only": "its database is read-only",
    "not-allowed": "its database does not allow the broker's user to do that",
    "locked": "its database is locked by another process",
    "io-error": "its disk fails",
    "corrupt": "its file is damaged, or is no database",
    "replaced": "its own last record is gone: the database was replaced, emptied or put back to an earlier state",
    "file-missing": "its file is gone or cannot be opened",
    "schema-missing": "its tables are missing",
    "database-away": "its database does not answer",
    "login-refused": "its database refuses the login: user, password or database are not what it expects",
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
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES = {
    "53100": "disk-full",
    "25006": "read-only",
    "55P03": "locked",
    "57014": "timeout",
    "42P01": "schema-missing",
    "42501": "not-allowed",
}
# What a server that is there, but not ready for anybody, says as well with FATAL in front.
_NOT_READY = ("starting up", "shutting down", "recovery", "too many", "connection slots")


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
    return _cause_of_postgres(error)


def _cause_of_postgres(error: BaseException) -> str:
    # Not imported: psycopg comes with an extra. Where one of its errors is, it has been loaded.
    psycopg = sys.modules.get("psycopg")
    if psycopg is None or not isinstance(error, psycopg.Error):
        return "error"
    if error.sqlstate is not None and error.sqlstate in _POSTGRES:
        return _POSTGRES[error.sqlstate]
    if not isinstance(error, psycopg.OperationalError):
        return "error"
    # At log-in libpq gives words only. Where they are in another language, the server counts as away.
    words = "" if error.sqlstate else str(error)
    refused = "FATAL" in words and not any(part in words for part in _NOT_READY)
    return "login-refused" if refused else "database-away"


def unavailable(cause: str) -> BrokerError:
    """Returns the error of a ledger that cannot be used, for a caller."""
    return ledger_unavailable(cause, _SENTENCES[cause])


def sentence(cause: str) -> str:
    """Returns what `cause` means."""
    return _SENTENCES[cause]
