"""Probe, settings and clock on the real Azurite and the stand-in for ARM."""

import time

import pytest
from aiohttp import web

from support.azure_stack import CONTAINERS, ML, AzureStack, make_connector, make_credential
from support.core import call_info, principal
from support.fake_ledger import FakeLedger
from valetkey_broker.connectors.canary_probe import Probe
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.verify import Proof, verify
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import Connector, Credential, EventFilter, Role


async def _verify(azure: AzureStack, connector: Connector, ledger: FakeLedger, **options: bool) -> Proof:
    async def credential(_connector: Connector) -> Credential:
        return make_credential()

    questions = CloudClient(azure.cloud, credential, 20)
    caller = call_info(principal(Role.OPERATOR, name="key:ops"))
    probe = Probe(caller, questions, ledger, {"dev": azure.profile}, time.time) if options.get("probe") else None
    return await verify(questions, time.time, connector, probe=probe)


async def test_the_whole_checklist(azure: AzureStack) -> None:
    """A canary is written, read, listed and deleted at a real storage service, which refuses its token elsewhere."""
    ledger = FakeLedger()
    azure.control_plane.set_properties(ML, sasPolicy={"sasExpirationPeriod": "0.01:15:00", "expirationAction": "Block"})
    proof = await _verify(azure, make_connector(storage_account=ML), ledger, probe=True)
    assert [(check.step, check.outcome.value, check.container) for check in proof.checks] == [
        ("log in", "ok", ""),
        ("find storage accounts", "ok", ""),
        ("list containers", "ok", ""),
        ("get a signing key", "ok", ""),
        ("use a token", "ok", CONTAINERS[ML][-1]),
        ("compare clocks", "ok", ""),
        ("look at the account's settings", "warning", ""),
        ("write a blob", "ok", CONTAINERS[ML][0]),
        ("read it back", "ok", CONTAINERS[ML][0]),
        ("list it", "ok", CONTAINERS[ML][0]),
        ("be refused at another container", "ok", CONTAINERS[ML][1]),
        ("be refused outside of containers", "ok", CONTAINERS[ML][0]),
        ("delete it", "ok", CONTAINERS[ML][0]),
    ]
    (stored,) = await ledger.events(EventFilter())
    assert stored.event.principal == "broker:probe"


async def test_an_answer_that_is_lost_is_no_failure(azure: AzureStack) -> None:
    """What is asked again because the connection broke off finds the canary written, or gone, already."""

    def writes(request: web.Request) -> bool:
        return request.method == "PUT"

    def deletes(request: web.Request) -> bool:
        return request.method == "DELETE"

    azure.proxy.lose_answers(writes, deletes)
    proof = await _verify(azure, make_connector(storage_account=ML), FakeLedger(), probe=True)
    assert (azure.proxy.seen["PUT "], azure.proxy.seen["DELETE "]) == (2, 2)
    assert [check.step for check in proof.checks if check.outcome.value == "failed"] == []


async def test_a_refused_write_names_role_and_scope(azure: AzureStack) -> None:
    """The service principal that may read only: verify passes, the probe does not, and says which role is missing."""
    azure.proxy.refuse(lambda request: request.method == "PUT", 403, "AuthorizationPermissionMismatch")
    proof = await _verify(azure, make_connector(storage_account=ML), FakeLedger(), probe=True)
    (write,) = [check for check in proof.checks if check.step == "write a blob"]
    assert (write.outcome.value, "AuthorizationPermissionMismatch" in write.message) == ("failed", True)
    assert '--role "Storage Blob Data Contributor"' in write.mend
    assert f"/blobServices/default/containers/{CONTAINERS[ML][0]}" in write.mend


async def test_a_clock_that_is_off_shows_in_any_answer(azure: AzureStack) -> None:
    """The skew is measured on what is asked anyway."""
    network = azure.cloud._network(azure.profile)
    network.skew.clock = lambda: time.time() + 120
    proof = await _verify(azure, make_connector(storage_account=ML), FakeLedger())
    (line,) = [check for check in proof.checks if check.step == "compare clocks"]
    assert line.outcome.value == "warning"
    assert "ahead of Azure's" in line.message


async def test_settings_need_reader(azure: AzureStack) -> None:
    """Without it, the line says what keeps it from being told."""
    azure.control_plane.fail("arm", 403)
    with pytest.raises(BrokerError) as caught:
        await azure.cloud.account_settings(make_connector(storage_account=ML), make_credential(), [ML])
    assert 'assign the role "Reader"' in caught.value.message
    assert '--role "Reader"' in caught.value.mend
