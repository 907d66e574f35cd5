"""The ledger's database: its connections and its migrations."""

import contextlib
import fcntl
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, column, inspect, make_url, select, table, text
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.ledger.engines import make_engine, schema_of, table_prefix, with_driver, with_schema
from valetkey_broker.ledger.errors import LostHeadError, cause_of, sentence
from valetkey_broker.ledger.schema import HEAD_REVISION, VERSION_TABLE
from valetkey_broker.model import Secret

_READERS = 5  # The threads that list, and the one that checks.
_CHANGES_A_CHECKPOINT = 10
_MIGRATING = threading.Lock()  # Alembic keeps its context in module globals.


class Database:
    """Makes connections to the database that `url` names, with the user and password that it has at each of them.

    `timeout` is in seconds, for one statement and one lock.
    """

    def __init__(self, url: Callable[[], Secret], timeout: float) -> None:
        self.url = with_driver(make_url(url().reveal()))
        self.timeout = timeout
        self.migrating = self.migrated_lately = False
        """Whether tables are being changed, which takes long where records are many."""
        self.writers_prefix = ""
        """What stands before the name of a table in a statement for what `writer` returned."""
        self._current_url = url
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        try:
            self._writer = self._engine(timeout, poolclass=NullPool)
        except ImportError:
            raise ConfigurationError(
                "ledger.url: PostgreSQL needs a driver that is not installed; install valetkey-broker[postgres]"
            ) from None
        # A long check streams many short statements: each has this long.
        patience = max(60.0, timeout)
        self._reader = self._engine(
            patience, poolclass=QueuePool, pool_size=_READERS, max_overflow=0, pool_pre_ping=True
        )
        self._changer = self._engine(
            patience, poolclass=NullPool, execution_options={"valetkey_begin": "BEGIN IMMEDIATE"}
        )
        driver: Any = self._writer.dialect.loaded_dbapi
        self.errors: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, LostHeadError, driver.Error)
        """What using the database can raise."""

    @property
    def path(self) -> Path:
        """The file of a SQLite ledger."""
        return Path(self.url.database or "")

    @property
    def name(self) -> str:
        """The database for people, without its password."""
        return str(self.path) if self.is_sqlite else self.url.render_as_string(hide_password=True)

    def writer(self) -> Any:
        """Returns a connection of the driver, in which each statement is a transaction of its own."""
        pooled = self._writer.raw_connection()
        connection: Any = pooled.driver_connection
        self.writers_prefix = table_prefix(pooled)
        pooled.detach()
        if not self.is_sqlite:
            connection.autocommit = True
        return connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Gives a connection that sees the state of one moment."""
        level = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._reader.connect() as connection:
            yield with_schema(connection.execution_options(**level))

    @contextlib.contextmanager
    def reading_each(self) -> Iterator[Connection]:
        """Gives a connection in which each statement sees the state of its own moment."""
        with self._reader.connect() as connection:
            yield with_schema(connection.execution_options(isolation_level="AUTOCOMMIT"))

    @contextlib.contextmanager
    def changing(self) -> Iterator[Connection]:
        """Gives a connection in a transaction that writes; commits it at the end."""
        with self._changer.connect() as connection, with_schema(connection).begin():
            yield connection

    @contextlib.contextmanager
    def short_changes(self) -> Iterator[Callable[[], contextlib.AbstractContextManager[Connection]]]:
        """Gives what makes transactions that write, one after the other, in turn with those who append.

        What SQLite does after some commits, moving pages from the WAL into the file, takes longer than such a
        transaction, and is done once the turn is over. Nor does one wait for the disk while others wait for it: what is
        undone by a loss of power is the last of these changes, and never more than those after it. The next append
        waits, for these as well.
        """
        with self._changer.connect() as connection:
            with_schema(connection)
            driver: Any = connection.connection.driver_connection
            done = itertools.count(1)

            @contextlib.contextmanager
            def change() -> Iterator[Connection]:
                with self.turn() if self.is_sqlite else contextlib.nullcontext(), connection.begin():
                    yield connection
                if self.is_sqlite and next(done) % _CHANGES_A_CHECKPOINT == 0:
                    driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

            if self.is_sqlite:
                for setting in ("wal_autocheckpoint=0", "synchronous=NORMAL"):
                    driver.execute(f"PRAGMA {setting}").fetchall()
            else:
                connection.execute(text("SET synchronous_commit = off"))
                connection.commit()
            yield change

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for this process's turn at a SQLite file.

        SQLite's own waiting is to try again now and then, with which the unlucky one of several busy writers waits for
        ever; the kernel lets them in one by one.
        """
        descriptor = self.open_lock()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def open_lock(self) -> int:
        """Returns a descriptor of the file by whose lock the writers of a SQLite file take turns."""
        return os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def migrate(self) -> str:
        """Brings the tables to what this broker needs, and returns their version; several at once do it one by one.

        Tables to which a newer broker has added stay as they are. Raises ConfigurationError where it did more to them,
        and the errors of the drivers.
        """
        with contextlib.ExitStack() as held:
            held.enter_context(_MIGRATING)
            if self.is_sqlite:
                held.enter_context(self.turn())
                self._make_file()
            found = self._version()
            while found is None or found < HEAD_REVISION:
                self.migrating = self.migrated_lately = True
                held.callback(setattr, self, "migrating", False)
                try:
                    self._change_tables(found)
                except (IntegrityError, ProgrammingError):
                    # So ends who makes the tables at the same time as another one, who was faster.
                    if self._version() == found:
                        raise
                found = self._version()
            return found

    def _version(self) -> str | None:
        # Without a lock: nearly always there is nothing to do.
        with self.reading() as connection:
            return self.revision(connection)

    def _change_tables(self, found: str | None) -> None:
        with self.changing() as connection:
            if found is not None and not self.is_sqlite:
                take_turn(connection)
                if self.revision(connection) != found:
                    return
            _upgrade(connection)

    def revision(self, connection: Connection) -> str | None:
        """Returns the version of the tables; None where there are none. Raises ConfigurationError for one too new."""
        found = _revision(connection)
        if found is not None and found > HEAD_REVISION and found[:1] != HEAD_REVISION[:1]:
            raise ConfigurationError(
                f"the ledger {self.name} is of a newer broker (its tables have version {found}, this broker "
                f"knows {HEAD_REVISION}); start that broker's version, or another ledger"
            )
        return found

    def close(self) -> None:
        """Closes what is not in use."""
        for engine in (self._writer, self._reader, self._changer):
            engine.dispose()

    def _make_file(self) -> None:
        # Made here for its mode; SQLite gives its other files the same one.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = self.writer()
        try:
            # In WAL readers and the writer do not wait for each other. The file remembers it.
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        finally:
            connection.close()
        if mode != "wal":
            raise ConfigurationError(f"the ledger {self.path} cannot be in WAL mode; expected a file on a local disk")

    def _engine(self, patience: float, **options: Any) -> Engine:
        return make_engine(self.url, self._current_url, timeout=self.timeout, patience=patience, **options)


def take_turn(connection: Connection) -> None:
    """Waits, first in its transaction, for the turn to change tables that are there, on PostgreSQL.

    PostgreSQL gives this lock only to those who may change the table, and what others can hold is not in its
    way. An advisory lock could be held by anybody who can connect. Brokers read the table meanwhile.
    """
    name = f"{table_prefix(connection)}{VERSION_TABLE}"
    connection.exec_driver_sql(f"LOCK TABLE {name} IN SHARE UPDATE EXCLUSIVE MODE")


def explain(database: Database, error: Exception) -> ConfigurationError:
    """Returns what an operator reads when the ledger cannot be opened."""
    cause = cause_of(error)
    directory = database.path.parent
    if database.is_sqlite and not directory.is_dir():
        return ConfigurationError(
            f"the ledger {database.name} cannot be opened: there is no directory {directory}; make it, writable for "
            "the broker's user, or name another file in ledger.url"
        )
    remedy = "see ledger.url"
    if cause == "not-allowed" and not database.is_sqlite:
        remedy = "where an update changes the tables, let the role that owns them start this version once"
    return ConfigurationError(
        f"the ledger {database.name} cannot be opened: {sentence(cause)} ({type(error).__name__}); {remedy}"
    )


def _revision(connection: Connection) -> str | None:
    schema = schema_of(connection)
    if not inspect(connection).has_table(VERSION_TABLE, schema=schema):
        return None
    found = connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE, schema=schema))).scalar()
    return None if found is None else str(found)


def _upgrade(connection: Connection) -> None:
    # Slow to import, and needed only when there is something to do.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
