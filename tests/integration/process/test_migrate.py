"""`valetkey-broker migrate`, which init containers run before brokers serve."""

import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.broker_process import run, write_config


def test_several_at_once_and_again(tmp_path: Path) -> None:
    """Pods that start at once all find the tables made, once; to say it again changes nothing."""
    config = write_config(tmp_path)
    with ThreadPoolExecutor(3) as threads:
        done = list(threads.map(lambda _: run("migrate", "--config", config), range(3)))
    for each in (*done, run("migrate", "--config", config)):
        assert (each.returncode, each.stderr) == (0, "")
        assert each.stdout == f"the ledger {tmp_path}/ledger.db has the tables of version 0004\n"
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        assert ledger.execute("SELECT version_num FROM ledger_version").fetchall() == [("0004",)]


def test_needs_the_ledger_alone(tmp_path: Path) -> None:
    """An init container that migrates is given neither the server's key nor a login to Vault."""
    config = write_config(tmp_path)
    for name in ("role_id", "secret_id", "broker.pem", "broker.key"):
        (tmp_path / name).unlink()
    done = run("migrate", "--config", config)
    assert (done.returncode, done.stderr) == (0, "")


def test_ledgers_that_are_not_for_it(tmp_path: Path) -> None:
    """A newer broker's ledger is left alone, and rights are for databases that have them."""
    config = write_config(tmp_path)
    granting = run("migrate", "--config", config, "--grant-to", "brokers")
    assert granting.returncode == 78
    assert "is a file: --grant-to is for PostgreSQL" in granting.stderr
    assert not (tmp_path / "ledger.db").exists()
    assert run("migrate", "--config", config).returncode == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE ledger_version SET version_num = '9999'")
    newer = run("migrate", "--config", config)
    assert newer.returncode == 78
    assert "is of a newer broker (its tables have version 9999, this broker knows 0004)" in newer.stderr
