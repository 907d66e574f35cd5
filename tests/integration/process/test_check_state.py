"""`valetkey-broker check-state`: says what is half done in a real Vault, mends it on record, tells by its exit code."""

import json
from pathlib import Path

import pytest

from support.broker_process import run, write_config
from support.core import PLANTED
from support.crashes import CONNECTOR
from support.ledgers import open_ledger
from support.openbao import store_on
from valetkey_broker.model import EventFilter, EventKind
from valetkey_devstack.openbao import MOUNT, OpenBao

pytestmark = pytest.mark.xdist_group("openbao-process")
_ORPHAN = f"credentials/{CONNECTOR.name}"


async def test_check_state_finds_and_repairs(tmp_path: Path, bao: OpenBao) -> None:
    """An orphan is named with exit 1, destroyed with --repair, on record, and then gone; its secret never shows."""
    config = write_config(tmp_path, bao.settings())
    try:
        async with store_on(bao) as store:
            await store.write(_ORPHAN, {"client_secret": PLANTED}, expected=0)
            found = run("check-state", "--config", config)
            assert (found.returncode, found.stdout.splitlines()[0]) == (
                1,
                f"{_ORPHAN}: holds 1 secret(s) that no connector uses",
            )
            assert "1 found; see docs/changes.md." in found.stderr
            assert await store.read(_ORPHAN) is not None, "looking changes nothing"
            repaired = run("check-state", "--config", config, "--repair")
            assert repaired.returncode == 0, repaired.stderr
            assert repaired.stdout.splitlines()[1:] == ["  repaired", "Nothing is half done."]
            assert await store.read(_ORPHAN) is None
            again = run("check-state", "--config", config)
            assert (again.returncode, again.stdout) == (0, "Nothing is half done.\n")
        assert PLANTED not in json.dumps([(ran.stdout, ran.stderr) for ran in (found, repaired, again)])
        async with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
            events = [stored.event for stored in await ledger.events(EventFilter())]
        assert [(event.kind, event.object, event.principal) for event in events] == [
            (EventKind.CHANGE_BEGUN, _ORPHAN, "check-state"),
            (EventKind.ADMIN_CHANGE, _ORPHAN, "check-state"),
        ]
    finally:
        admin = bao.admin()
        for path in (_ORPHAN, f"connectors/{CONNECTOR.name}"):
            admin.secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point=MOUNT)
        admin.adapter.close()
