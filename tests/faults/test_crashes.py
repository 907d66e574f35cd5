"""Real processes killed amid a change, before and after the write that decides, on a real Vault and a real ledger.

The whole matrix, every write of every change, is in tests/unit/state/test_crashes.py.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import hvac
import hvac.exceptions
import pytest
import pytest_asyncio

from support.crash_process import Child, Watcher, check
from support.crashes import BY_NAME, CHANGES, CONNECTOR, GRANT, KEY, REVOCATION, SECRET, knows
from support.ledgers import new_name, open_ledger
from support.postgres import Postgres, running_postgres
from support.relay import Relay
from valetkey_devstack.ca import make_ca
from valetkey_devstack.openbao import MOUNT, OpenBao, start_openbao

pytestmark = pytest.mark.xdist_group("crashes")
_DATA = f"POST /v1/{MOUNT}/data".encode()
# Where each change is cut: the write that decides what becomes of it, and with which outcome before and after it.
_CUTS = [
    ("register", f"/credentials/{CONNECTOR.name}", "NOT_MADE", "MADE"),
    ("update", f"/credentials/{CONNECTOR.name}", "NOT_MADE", "MADE"),
    ("unregister", f"/connectors/{CONNECTOR.name}", "MADE", "MADE"),
    ("drop-keys", f"/connectors/{CONNECTOR.name}", "NOT_MADE", "MADE"),
    ("admit-key", f"/api-keys/{KEY.name}", "NOT_MADE", "MADE"),
    ("revoke-key", f"/api-keys/{KEY.name}", "MADE", "MADE"),
    ("create-grant", f"/grants/{GRANT.name}", "NOT_MADE", "MADE"),
    ("update-grant", f"/grants/{GRANT.name}", "NOT_MADE", "MADE"),
    ("delete-grant", f"/grants/{GRANT.name}", "MADE", "MADE"),
    ("rename-secret", f"/secrets/{SECRET}", "MADE", "MADE"),
    ("begin-rotation", f"/rotation-credentials/{CONNECTOR.name}", "NOT_MADE", "MADE"),
    ("revoke-keys", f"/revocations/{REVOCATION.name}", "NOT_MADE", "MADE"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[OpenBao, Path, Path, Postgres]]:
    directory = tmp_path_factory.mktemp("crashes")
    authority = make_ca(directory)
    certificate, key = authority.issue("relay", directory)
    bao = await start_openbao(directory / "openbao", authority)
    try:
        async with running_postgres() as postgres:
            yield bao, certificate, key, postgres
    finally:
        await bao.stop()


def _forget_everything(admin: hvac.Client) -> None:
    kv = admin.secrets.kv.v2
    try:
        uids = kv.list_secrets("shared-credentials", mount_point=MOUNT)["data"]["keys"]
    except hvac.exceptions.InvalidPath:
        uids = []
    name = CONNECTOR.name
    others = ("generation", f"credentials/{name}", f"rotation-credentials/{name}", "connectors/sharing")
    for entry in (*others, *(each.path for each in CHANGES), *(f"shared-credentials/{uid}" for uid in uids)):
        kv.delete_metadata_and_all_versions(entry, mount_point=MOUNT)


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"])
@pytest.mark.parametrize("cut", _CUTS, ids=lambda cut: cut[0])
async def test_a_killed_process_leaves_nothing_half_done(
    servers: tuple[OpenBao, Path, Path, Postgres], tmp_path: Path, cut: tuple[str, str, str, str], ledger: str
) -> None:
    """Two replicas finish or undo it within moments, both know, the ledger has its outcome, it can be repeated."""
    bao, certificate, key, postgres = servers
    name, path, before, after = cut
    change, effect = BY_NAME[name], ledger == "postgres"  # Either ledger sees either side of some cut.
    url = f"sqlite:///{tmp_path}/ledger.db"
    if ledger == "postgres":
        database = new_name()
        await postgres.run(f"CREATE DATABASE {database}")
        url = postgres.url(database)
    admin = bao.admin()
    _forget_everything(admin)
    admin.adapter.close()
    async with open_ledger(url) as shared, Relay(bao.address, bao.ca_file, certificate, key) as relay:
        watchers = [Watcher(bao.settings(), shared) for _ in range(2)]
        relay.delay = 0.05 if effect else 0.0  # A slow Vault is what news was lost by.
        child = Child(bao.settings(address=relay.url, timeout_seconds=30.0), url, tmp_path)
        try:
            for watcher in watchers:
                watcher.forbearing = True
                await watcher.watch()
            await change.prepare(watchers[0].replica)
            await child.ready()
            held = relay.hold(_DATA + path.encode(), request=not effect)
            child.begin(change)
            await held.answered.wait()
            child.kill()
            for watcher in watchers:
                watcher.forbearing = False
            await check(watchers, change)
            outcomes = [(intent.path, made) for watcher in watchers for intent, made in watcher.replica.settled]
            assert outcomes == [(change.path, (after if effect else before) == "MADE")]
            assert await watchers[0].unfinished() == []
            verified = await shared.verify()
            assert verified.intact, verified.problem
            watchers[0].forbearing = True
            told = await watchers[1].make(change, "repeated")
            watchers[0].forbearing = False
            assert told in {"done", *(reason.name for reason in change.told)}
            await check(watchers, change)
            assert knows(watchers[0].replica, change.path) is not change.removes
        finally:
            relay.heal()
            child.kill()
            for watcher in watchers:
                await watcher.close()
