"""The password of the ledger's database is rotated while the broker runs, on a real PostgreSQL that asks for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from support.ledgers import denied, issued
from support.postgres import Postgres, running_postgres
from support.waiting import eventually
from valetkey_broker.errors import BrokerError, ConfigurationError
from valetkey_broker.ledger import SqlLedger, check_ledger
from valetkey_broker.model import EventFilter
from valetkey_broker.settings import LedgerSettings

END_CONNECTIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'valetkey-broker'"


@pytest.fixture
async def postgres() -> AsyncIterator[Postgres]:
    """A server on which the role `broker` has a password and the database `ledger`."""
    async with running_postgres() as server:
        await server.run("CREATE ROLE broker LOGIN PASSWORD 'PLANTED-first'")
        await server.run("CREATE DATABASE ledger OWNER broker")
        (server.data / "pg_hba.conf").write_text("local all broker scram-sha-256\nlocal all all trust\n")
        await server.run("SELECT pg_reload_conf()")
        yield server


class Rotated:
    """A ledger whose URL is in a file."""

    def __init__(self, postgres: Postgres, file: Path) -> None:
        self.postgres = postgres
        self.file = file

    def write(self, password: str, *, user: str = "broker", database: str = "ledger") -> None:
        """Writes the URL anew."""
        self.file.write_text(f"postgresql://{user}:{password}@/{database}?host={self.postgres.directory}\n")

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[SqlLedger]:
        """Gives the ledger, in use."""
        ledger = SqlLedger(LedgerSettings(url_file=self.file, timeout_seconds=5.0))
        await ledger.open()
        try:
            await ledger.record(issued())
            await ledger.events(EventFilter())
            yield ledger
        finally:
            await ledger.close()


@pytest.fixture
async def rotated(postgres: Postgres, tmp_path: Path) -> Rotated:
    made = Rotated(postgres, tmp_path / "url")
    made.write("PLANTED-first")
    return made


async def test_new_password_needs_no_restart(rotated: Rotated) -> None:
    """Changed in the database, then in the file: the ledger refuses in between and recovers by itself, reading too."""
    with capture_logs() as lines:
        async with rotated.open() as ledger:
            await rotated.postgres.run("ALTER ROLE broker PASSWORD 'PLANTED-second'")
            await ledger.record(denied())  # An open connection outlives its password.
            await rotated.postgres.run(END_CONNECTIONS)
            with pytest.raises(BrokerError) as caught:
                await ledger.record(denied())
            assert caught.value.metadata == {"cause": "login-refused"}
            rotated.write("PLANTED-second")
            await eventually(ledger.healthy)
            await ledger.record(denied())
            assert [stored.event.kind for stored in await ledger.events(EventFilter())]
            found = await ledger.verify()
            assert (found.intact, found.records) == (True, 3)
    assert "PLANTED" not in str(lines)


async def test_wrong_login_is_found_beforehand(rotated: Rotated) -> None:
    """`check-config` knocks at the database: a wrong password is told before the start, and no table is made."""
    rotated.write("PLANTED-wrong")
    with pytest.raises(ConfigurationError, match="refuses the login") as caught:
        await asyncio.to_thread(check_ledger, LedgerSettings(url_file=rotated.file))
    assert "PLANTED" not in str(caught.value)
    rotated.write("PLANTED-first")
    warning = await asyncio.to_thread(check_ledger, LedgerSettings(url_file=rotated.file))
    assert warning.startswith("everybody with a login may connect")
    assert "PLANTED" not in warning
    tables = await rotated.postgres.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", "ledger")
    assert tables == "0"


async def test_file_first_and_another_user(rotated: Rotated) -> None:
    """Secrets that are made anew each time bring another user, and the file may change long before it is needed."""
    async with rotated.open() as ledger:
        await rotated.postgres.run("CREATE ROLE broker2 LOGIN PASSWORD 'PLANTED-third' IN ROLE broker")
        (rotated.postgres.data / "pg_hba.conf").write_text(
            "local all broker,broker2 scram-sha-256\nlocal all all trust\n"
        )
        await rotated.postgres.run("SELECT pg_reload_conf()")
        rotated.write("PLANTED-third", user="broker2")
        await asyncio.sleep(1.2)
        await rotated.postgres.run("ALTER ROLE broker NOLOGIN")
        await rotated.postgres.run(END_CONNECTIONS)
        await eventually(ledger.healthy)
        await ledger.record(denied())
        assert (await ledger.verify()).intact


@pytest.mark.parametrize("ruin", ["", "postgresql://broker:PLANTED-half", "mysql://u@h/d", None])
async def test_half_written_file_leaves_the_old_login(rotated: Rotated, ruin: str | None) -> None:
    """What is no URL, or one of something else, is not used; the log names the file, once, and never its content."""
    async with rotated.open() as ledger:
        with capture_logs() as lines:
            if ruin is None:
                rotated.file.unlink()
            else:
                rotated.file.write_text(ruin)
            for _ in range(2):
                await asyncio.sleep(1.2)
                await rotated.postgres.run(END_CONNECTIONS)
                await ledger.record(denied())
        errors = [line for line in lines if line["log_level"] == "error"]
        assert [line["what"] for line in errors] == ["the URL of the ledger"]
        assert "PLANTED" not in str(lines)


async def test_another_database_is_not_moved_to(rotated: Rotated) -> None:
    """A file that suddenly names another database does not split the record: that takes a restart, and is said."""
    await rotated.postgres.run("CREATE DATABASE elsewhere OWNER broker")
    async with rotated.open() as ledger:
        with capture_logs() as lines:
            rotated.write("PLANTED-first", database="elsewhere")
            await asyncio.sleep(1.2)
            await rotated.postgres.run(END_CONNECTIONS)
            await ledger.record(denied())
        assert (await ledger.verify()).records == 2
    (error,) = [line for line in lines if line["log_level"] == "error"]
    assert "names another database than the one in use" in error["error"]
    tables = await rotated.postgres.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", "elsewhere")
    assert tables == "0"
