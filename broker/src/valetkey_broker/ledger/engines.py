"""Engines that are durable, bounded in time, and log in with the user and password of the moment."""

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url

from valetkey_broker.model import Secret

_SCHEMA = "valetkey_schema"


def make_engine(
    url: URL, current_url: Callable[[], Secret], *, timeout: float, patience: float, **options: Any
) -> Engine:
    """Returns an engine for `url`, whose user and password are those of `current_url` at each connection.

    In seconds, `timeout` is for a lock and a connection, `patience` for one statement of PostgreSQL. Raises ImportError
    where the driver is not installed.
    """
    is_sqlite = url.get_backend_name() == "sqlite"
    arguments = _sqlite_arguments(timeout) if is_sqlite else _postgres_arguments(timeout)
    if not is_sqlite:
        # The driver would look the type up at each connection, with operators that anybody may have defined.
        options["use_native_hstore"] = False
    engine = create_engine(
        _existing_file(url) if is_sqlite else url, connect_args=arguments, hide_parameters=True, **options
    )
    if not is_sqlite:
        event.listen(engine, "connect", _trust_built_in_names_only)
    _prepare(engine, _sqlite_session() if is_sqlite else _postgres_session(patience, timeout))
    if is_sqlite:
        _begin_by_hand(engine)
        event.listen(engine, "connect", _read_any_text)
    else:
        _log_in_as_of_now(engine, current_url)
    return engine


def schema_of(connection: Any) -> str | None:
    """Returns the schema of PostgreSQL that holds the tables, or will; None on SQLite.

    `connection` is one of an engine, or of its pool.
    """
    found: str | None = connection.info.get(_SCHEMA)
    return found


def table_prefix(connection: Any) -> str:
    """Returns what stands before the name of a table in a statement with parameters for this connection's driver."""
    return plain_table_prefix(connection).replace("%", "%%")


def plain_table_prefix(connection: Any) -> str:
    """Returns what stands before the name of a table in a statement without parameters."""
    schema = schema_of(connection)
    if schema is None:
        return ""
    quoted = schema.replace('"', '""')
    return f'"{quoted}".'


def with_schema(connection: Connection) -> Connection:
    """Returns the connection, which finds the tables that statements of SQLAlchemy name in their schema from now on."""
    if (schema := schema_of(connection)) is None:
        return connection
    return connection.execution_options(schema_translate_map={None: schema})


def with_driver(url: URL) -> URL:
    """Returns the URL with the driver that is used."""
    return url if url.get_backend_name() == "sqlite" else url.set(drivername="postgresql+psycopg")


def _existing_file(url: URL) -> URL:
    # rw: a ledger that was removed while the broker runs must not be begun anew in silence.
    path = str(url.database).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return url.set(database=f"file:{path}", query={"uri": "true", "mode": "rw"})


def _sqlite_arguments(timeout: float) -> dict[str, Any]:
    # isolation_level None: the driver begins nothing by itself. Another thread may interrupt a statement.
    return {"timeout": timeout, "isolation_level": None, "check_same_thread": False}


def _postgres_arguments(timeout: float) -> dict[str, Any]:
    return {
        "connect_timeout": max(2, round(timeout)),
        "tcp_user_timeout": round(timeout * 1000),
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "application_name": "valetkey-broker",
    }


def _sqlite_session() -> list[str]:
    # FULL: in WAL mode anything less does not wait for the disk at each commit.
    return ["PRAGMA synchronous=FULL"]


def _postgres_session(statement: float, lock: float) -> list[str]:
    return [
        f"SET statement_timeout = {round(statement * 1000)}",
        f"SET lock_timeout = {round(lock * 1000)}",
        f"SET idle_in_transaction_session_timeout = {round(statement * 1000)}",
        # A server may be set up to answer before a commit is on its disk; stricter settings stay.
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    ]


def _trust_built_in_names_only(connection: Any, record: Any) -> None:
    """Finds the schema of the tables, and takes it and all others out of the session's search path.

    Functions and operators are chosen by how well they fit the types, before the order of the path counts. In a schema
    where others may create, as everybody may in `public` up to PostgreSQL 14, somebody could define a `=` that fits
    these columns better than the built-in one does, and it would run with the rights of the broker's role. So tables
    are named with their schema, and nothing else is found anywhere but in pg_catalog.
    """
    cursor = connection.cursor()
    cursor.execute("SELECT pg_catalog.to_regclass(%s)::pg_catalog.oid, pg_catalog.current_schema()", ("ledger_events",))
    table, schema = cursor.fetchone()
    cursor.execute("SET search_path TO pg_catalog, pg_temp")
    if table is not None:
        cursor.execute(
            "SELECT nspname FROM pg_namespace WHERE oid = (SELECT relnamespace FROM pg_class WHERE oid = %s::oid)",
            (table,),
        )
        (schema,) = cursor.fetchone()
    cursor.close()
    connection.commit()
    record.info[_SCHEMA] = schema


def _prepare(engine: Engine, statements: list[str]) -> None:
    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        connection.commit()

    event.listen(engine, "connect", prepare)


def _log_in_as_of_now(engine: Engine, current_url: Callable[[], Secret]) -> None:
    """Makes each new connection with the user and password of that moment: those are rotated."""

    def log_in(dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        _, now = dialect.create_connect_args(with_driver(make_url(current_url().reveal())))
        for name in ("user", "password"):
            parameters.pop(name, None)
            if name in now:
                parameters[name] = now[name]

    event.listen(engine, "do_connect", log_in)


def _read_any_text(connection: Any, _record: Any) -> None:
    # A file can hold text that is no UTF-8, which somebody else put there: it must not end a list, nor the check that
    # is to name it.
    connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")


def _begin_by_hand(engine: Engine) -> None:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("valetkey_begin", "BEGIN"))

    event.listen(engine, "begin", begin)
