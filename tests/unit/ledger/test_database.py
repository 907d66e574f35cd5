"""Opening a ledger: its tables, its settings, and what an operator reads when it cannot be opened."""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import ValidationError

import valetkey_broker.ledger.ledger
from support.ledgers import denied, open_ledger
from valetkey_broker.errors import BrokerError, ConfigurationError, Reason
from valetkey_broker.ledger import SqlLedger
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.indexes import metadata
from valetkey_broker.ledger.schema import HEAD_REVISION, VERSION_TABLE
from valetkey_broker.model import EventFilter, Secret
from valetkey_broker.settings import LedgerSettings

ADDING = ("create_table", "create_index", "add_column", "bulk_insert")
PASSWORD = "PLANTED-password"


def test_migrations_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    """The tables that a broker makes are the ones its queries are written for."""
    database = Database(lambda: Secret(f"sqlite:///{tmp_path}/ledger.db"), 5.0)
    database.migrate()
    with database.changing() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_newest_migration_is_the_one_the_code_knows() -> None:
    """A migration that is added without saying so would never run."""
    config = Config()
    config.set_main_option("script_location", str(Path(valetkey_broker.ledger.__file__).with_name("migrations")))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD_REVISION


class _NotedOperations:
    """Stands in for alembic's `op`: notes what a migration does, and does none of it."""

    def __init__(self) -> None:
        self.done: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def note(*given: Any, **options: Any) -> Any:
            self.done.append((name, given, options))
            return SimpleNamespace(dialect=SimpleNamespace(name="postgresql"), version_table_schema="public")

        return note


def test_migrations_only_add(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers of the release before go on writing, and start again after a step back: nothing that they know goes."""
    config = Config()
    config.set_main_option("script_location", str(Path(valetkey_broker.ledger.__file__).with_name("migrations")))
    for step in ScriptDirectory.from_config(config).walk_revisions():
        assert re.fullmatch("[0-9]{4}", step.revision)
        noted = _NotedOperations()
        monkeypatch.setattr(step.module, "op", noted)
        step.module.upgrade()
        for name, given, options in noted.done:
            assert not options.get("unique"), given
            assert name in {*ADDING, "get_bind", "get_context", "execute"}
            if name == "add_column":
                assert given[1].nullable or given[1].server_default is not None, given
            if name == "execute":
                assert given[0].startswith("SET LOCAL "), given


async def test_ledger_of_a_newer_broker_is_refused(tmp_path: Path) -> None:
    """A broker that was put back to an old version does not write into tables it does not know."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with open_ledger(url):
        pass
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE ledger_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ConfigurationError, match="newer broker"):
        await SqlLedger(LedgerSettings(url=url)).open()


async def test_migration_of_a_large_ledger_is_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes on millions of records take longer than a database that does not answer is waited for."""
    monkeypatch.setattr(valetkey_broker.ledger.ledger, "_PATIENCE", 0.01)
    ledger = SqlLedger(LedgerSettings(url=f"sqlite:///{tmp_path}/ledger.db"))
    ledger._database.migrating = True
    ended = threading.Event()

    class Migrating:
        def prepare(self) -> None:
            ended.wait(20)

    opening = asyncio.create_task(ledger._prepare(cast("Any", Migrating())))
    await asyncio.sleep(0.2)
    assert not opening.done()
    ended.set()
    await opening


async def test_database_that_does_not_answer_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts a broker hears of a database that hangs."""
    released = threading.Event()
    monkeypatch.setattr(Database, "migrate", lambda _self: released.wait(20))
    monkeypatch.setattr(valetkey_broker.ledger.ledger, "_PATIENCE", 0.05)
    try:
        with pytest.raises(ConfigurationError, match="takes too long"):
            await SqlLedger(LedgerSettings(url=f"sqlite:///{tmp_path}/ledger.db")).open()
    finally:
        released.set()


async def test_file_is_private(tmp_path: Path) -> None:
    """Who got what is for the broker's user alone to read."""
    async with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        await ledger.record(denied())
        modes = await asyncio.to_thread(lambda: {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()})
        assert modes == {0o600}


async def test_odd_characters_in_the_path_are_taken_as_they_are(tmp_path: Path) -> None:
    """A directory may be called anything, also what means something in a URL."""
    directory = tmp_path / "100% odd & {new}"
    directory.mkdir()
    async with open_ledger(f"sqlite:///{directory}/ledger.db") as ledger:
        await ledger.record(denied())
    assert (directory / "ledger.db").stat().st_size > 0


async def test_missing_directory_is_named(tmp_path: Path) -> None:
    """An operator reads which directory is missing and what to do."""
    with pytest.raises(ConfigurationError, match=re.escape(f"there is no directory {tmp_path}/none")):
        await SqlLedger(LedgerSettings(url=f"sqlite:///{tmp_path}/none/ledger.db")).open()


async def test_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A file that is something else is neither written to nor replaced."""
    file = tmp_path / "ledger.db"
    file.write_bytes(b"something else entirely, and long enough to be looked at as a header of a database" * 20)
    before = file.read_bytes()
    with pytest.raises(ConfigurationError, match="damaged, or is no database"):
        await SqlLedger(LedgerSettings(url=f"sqlite:///{file}")).open()
    assert file.read_bytes() == before


async def test_starting_at_once_makes_the_tables_once(tmp_path: Path) -> None:
    """Workers that start together on a new file do not trip over each other."""
    ledgers = [SqlLedger(LedgerSettings(url=f"sqlite:///{tmp_path}/ledger.db")) for _ in range(6)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    await asyncio.gather(*(ledger.record(denied()) for ledger in ledgers))
    assert (await ledgers[0].verify()).records == 6
    for ledger in ledgers:
        await ledger.close()


async def test_ledger_that_is_not_open_refuses(tmp_path: Path) -> None:
    """Before it is opened and after it is closed a ledger says so, and is not healthy."""
    ledger = SqlLedger(LedgerSettings(url=f"sqlite:///{tmp_path}/ledger.db"))
    for _ in range(2):
        assert not ledger.healthy()
        for call in (ledger.record(denied()), ledger.events(EventFilter()), ledger.verify()):
            with pytest.raises(BrokerError) as caught:
                await call
            assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
        await ledger.close()
    await ledger.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "not a database"),
        ("ledger.db", "not a database"),
        ("sqlite://", "absolute path"),
        ("sqlite:///ledger.db", "absolute path"),
        ("sqlite:////var/lib/", "absolute path"),
        ("sqlite:////var/lib/l.db?mode=ro", "absolute path"),
        (f"mysql://u:{PASSWORD}@db/x", "not a database"),
        (f"postgresql+asyncpg://u:{PASSWORD}@db/x", "not a database"),
        (f"postgresql://u:{PASSWORD}@db/x", "without TLS"),
        (f"postgresql://u:{PASSWORD}@db/x?sslmode=prefer", "without TLS"),
        (f"postgresql://u:{PASSWORD}@db/x?sslmode=require&sslmode=disable", "without TLS"),
        (f"postgresql://u:{PASSWORD}@localhost/x?host=db", "without TLS"),
        (f"postgresql://u:{PASSWORD}@localhost,db/x", "without TLS"),
        (f"postgresql://u:{PASSWORD}@[::1/x", "not a URL"),
    ],
)
def test_urls_that_will_not_do_are_refused_without_showing_them(url: str, problem: str) -> None:
    """A ledger nobody meant, or one read along by the network, is refused at start; the password stays unseen."""
    with pytest.raises(ValidationError, match=problem) as caught:
        LedgerSettings(url=url)
    lines = [str(error["msg"]) for error in caught.value.errors(include_input=False)]
    assert PASSWORD not in "".join(lines)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////var/lib/valetkey/ledger.db",
        "postgresql://u:p@db.example/x?sslmode=verify-full",
        "postgresql+psycopg://u@127.0.0.1/x",
        "postgresql://u@[::1]:5433/x",
        "postgresql:///x?host=/run/postgresql",
    ],
)
def test_urls_that_will_do(url: str) -> None:
    """Files, servers over TLS, and servers on this machine are taken."""
    assert LedgerSettings(url=url).database_url().reveal() == url


def test_url_may_stand_in_a_file(tmp_path: Path) -> None:
    """A password need not be in the settings, and is not shown by them either way."""
    file = tmp_path / "url"
    url = f"postgresql://u:{PASSWORD}@db/x?sslmode=verify-full"
    file.write_text(url + "\n")
    from_file = LedgerSettings(url_file=file)
    assert from_file.database_url().reveal() == url
    database = Database(from_file.database_url, 5.0)
    assert PASSWORD not in database.name
    assert PASSWORD not in repr(LedgerSettings(url=url)) + repr(from_file)
    with pytest.raises(ValidationError, match="both given"):
        LedgerSettings(url=url, url_file=file)
    file.write_text(f"postgresql://u:{PASSWORD}@db/x")
    with pytest.raises(ConfigurationError, match="without TLS") as caught:
        from_file.database_url()
    assert PASSWORD not in str(caught.value)
    file.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        from_file.database_url()


def test_file_needs_no_driver_of_postgresql(tmp_path: Path) -> None:
    """The base installation, without the extra, keeps a ledger in a file."""
    script = (
        "import asyncio, sys; sys.modules['psycopg'] = None\n"
        "from support.ledgers import denied, open_ledger\n"
        "async def main():\n"
        "    async with open_ledger(f'sqlite:///{sys.argv[1]}/ledger.db') as ledger:\n"
        "        await ledger.record(denied())\n"
        "asyncio.run(main())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, env=environment, capture_output=True)


def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants PostgreSQL without its driver reads what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=re.escape("valetkey-broker[postgres]")):
        SqlLedger(LedgerSettings(url="postgresql://u@localhost/x"))
