"""A process that is stopped before its switch, and goes on after others took that back; on a real OpenBao."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from support.core import PLANTED, PROFILE
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger
from support.openbao import running_openbao, store_on
from support.paused_process import PausingStore
from support.rotating_replica import NAME, NEW, PATH, RotatingReplica
from support.waiting import eventually
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.adapters.vault import VaultStateStore
from valetkey_broker.connectors.rotation_admin import Wanted
from valetkey_broker.model import Event, EventKind, RotationState, Secret


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[VaultStateStore]:
    async with running_openbao(tmp_path) as bao, store_on(bao) as store:
        await store.open()
        yield store


def _process(store: Any, ledger: FakeLedger, *accepts: str) -> RotatingReplica:
    cloud = FakeCloud({"one": ["demo"]}, profile=PROFILE, secrets=list(accepts))
    return RotatingReplica(store, cloud, ledger)


async def test_the_switch_is_not_made_that_others_took_back(store: VaultStateStore) -> None:
    """It had looked a moment ago, and the change is on record as begun: now it is on record as failed."""
    ledger = FakeLedger()
    pausing = PausingStore(store, -1)  # type: ignore[arg-type]
    slow = _process(pausing, ledger, PLANTED, NEW)
    await slow.register()

    def stop(event: Event) -> None:
        if (event.kind, event.object) == (EventKind.CHANGE_BEGUN, PATH):
            pausing.stop()

    ledger.before_record = stop
    await slow.begin(Wanted(secrets={"client_secret": Secret(NEW)}, prove_seconds=0))
    await eventually(pausing.reached.is_set)
    others = _process(store, ledger, PLANTED)
    await others.repository.load()
    assert (await others.ended()).state is RotationState.FAILED
    pausing.go_on.set()
    await eventually(lambda: all(own.task is None for own in slow.rotating.runner._own.values()))
    await slow.repository.close()
    assert await others.in_use() == ClientSecret(Secret(PLANTED))
    assert others.memory.connectors[NAME].credential_version == 1
    assert [each.reason for each in ledger.of(EventKind.CHANGE_FAILED)] == ["CONFLICT"]
