"""The probe: a canary goes in and out, its token is on record and goes nowhere, and what it is not for refuses it."""

import asyncio
from typing import Any

import pytest

from support.core import NOW, PROFILE, PROFILES, FakeClock, call_info, credential_of, make_connector, principal
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger, ledger_down
from support.waiting import eventually
from valetkey_broker.connectors.canary_probe import Probe
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.verify import verify
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Check, Connector, EventFilter, EventKind, Role

WRITE_STEPS = ["write a blob", "read it back", "list it"]
REFUSED = ["be refused at another container", "be refused outside of containers"]


class Scene:
    """A cloud with one account, and what probes of it need."""

    def __init__(self) -> None:
        self.cloud = FakeCloud({"one": ["$web", "demo", "models"], "two": []}, profile=PROFILE)
        self.ledger = FakeLedger()

    async def run(self, connector: Connector | None = None) -> list[Check]:
        """Verifies with a probe; returns the lines of the probe."""
        questions = CloudClient(self.cloud, credential_of, 1)
        caller = call_info(principal(Role.OPERATOR, name="key:ops"))
        probe = Probe(caller, questions, self.ledger, PROFILES, FakeClock())
        proof = await verify(questions, FakeClock(), connector or make_connector(), probe=probe)
        steps = {*WRITE_STEPS, *REFUSED, "delete it"}
        return [check for check in proof.checks if check.step in steps]

    async def recorded(self) -> Any:
        return [stored.event for stored in await self.ledger.events(EventFilter())]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_canary_goes_in_and_out(scene: Scene) -> None:
    """Each thing a token is for is done once, what it is not for is refused, and nothing stays behind."""
    checks = await scene.run()
    assert [(check.step, check.outcome.value) for check in checks] == [
        (step, "ok") for step in (*WRITE_STEPS, *REFUSED, "delete it")
    ]
    assert {check.container for check in checks} == {"demo", "models"}
    assert scene.cloud.blobs == set()


async def test_its_token_is_on_record(scene: Scene) -> None:
    """Who looks for it finds what it was for and who asked; it lives for minutes, whatever the settings allow."""
    await scene.run(make_connector(resource="models", account="one"))
    (event,) = await scene.recorded()
    assert (event.kind, event.principal, event.grant) == (EventKind.TOKEN_ISSUED, "broker:probe", "")
    assert (event.resource, event.permissions) == ("https://one.blob.dev.invalid/models", "rwdl")
    assert (event.details, event.purpose) == ({"asked_by": "key:ops"}, "verify --probe-write")
    assert event.expires == NOW + 300
    assert event.signature_sha256


async def test_without_a_record_nothing_is_done(scene: Scene) -> None:
    """As with any token: what cannot be recorded is not used."""
    scene.ledger.fail_with = ledger_down()
    with pytest.raises(BrokerError) as caught:
        await scene.run()
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
    assert scene.cloud.calls["use_token"] == 0


async def test_a_write_that_is_refused(scene: Scene) -> None:
    """The verification that passes where writes fail: not with the probe; what follows is not tried, and told so."""
    scene.cloud.fail("write", BrokerError(Reason.CLOUD_PERMISSION_MISSING, "No: do X.", mend="do X.\naz role …"))
    checks = {check.step: check for check in await scene.run()}
    assert (checks["write a blob"].outcome.value, checks["write a blob"].mend) == ("failed", "do X.\naz role …")
    assert {checks[step].outcome.value for step in ("read it back", "list it", "delete it")} == {"not tried"}
    assert checks["delete it"].message == "nothing was written"
    assert {checks[step].outcome.value for step in REFUSED} == {"ok"}


@pytest.mark.parametrize("step", ["read", "list"])
async def test_what_cannot_be_read_back_is_deleted_all_the_same(scene: Scene, step: Any) -> None:
    """A token that writes and does not read leaves no canary behind."""
    scene.cloud.fail(step, Reason.CLOUD_PERMISSION_MISSING)
    checks = await scene.run()
    assert [check.outcome.value for check in checks].count("failed") == 1
    assert scene.cloud.blobs == set()


async def test_a_write_without_an_answer_is_cleaned_up(scene: Scene) -> None:
    """The blob may be there though nobody said so."""
    scene.cloud.fail("write", Reason.CLOUD_UNAVAILABLE)
    checks = {check.step: check.outcome.value for check in await scene.run()}
    assert (checks["write a blob"], checks["delete it"]) == ("failed", "ok")


async def test_a_clean_up_that_fails_names_the_blob(scene: Scene) -> None:
    """Whoever reads it can remove it."""
    scene.cloud.fail("delete", Reason.CLOUD_PERMISSION_MISSING)
    checks = await scene.run()
    (left,) = scene.cloud.blobs
    (line,) = [check for check in checks if check.outcome.value == "failed"]
    assert left[2].startswith(".valetkey-probe/")
    assert f"the blob {left[2]} of the probe is left behind" in line.message
    assert f"--container-name 'demo' --name {left[2]}" in line.mend


async def test_a_token_that_does_too_much_is_found_out(scene: Scene) -> None:
    """The opposite is proved too: a token that is taken elsewhere fails the check."""
    scene.cloud.generous = True
    failed = [check.step for check in await scene.run() if check.outcome.value == "failed"]
    assert failed == REFUSED


async def test_a_caller_who_hangs_up_leaves_nothing_behind(scene: Scene) -> None:
    """A probe goes on to its end, the deletion."""
    gate = scene.cloud.hold("use_token")
    running = asyncio.create_task(scene.run())
    while not scene.cloud.calls["use_token"]:  # noqa: ASYNC110 (a counter, of a fake)
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    gate.set()
    await eventually(lambda: scene.cloud.calls["use_token"] == 6 and not scene.cloud.blobs)
