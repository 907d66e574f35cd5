"""The whole stack with one of its parts away or unwell: what users are told, what goes on, and that it mends itself."""

import re
import subprocess
from collections.abc import Iterator

import pytest

from support.children import start
from support.cli_runner import Ran
from support.e2e import BROKER, DEMO, Live, live_stack, soon, unique, user_environment

# These break the stack they run on; it is theirs alone.
pytestmark = [pytest.mark.xdist_group("broker-faults"), pytest.mark.unmeasured]

MENDED_WITHIN = 60.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_stack(tmp_path_factory.mktemp("faults"), connector=True) as running:
        yield running


@pytest.fixture
def live(shared: Live) -> Iterator[Live]:
    """The stack in good order, the demo connector's key in the broker's memory; mended after the test."""
    assert shared.issue().code == 0
    yield shared
    shared.stack.control_plane.heal()
    shared.running.call(shared.stack.openbao.recover())
    if shared.stack.azurite.pid is None:
        shared.running.call(shared.stack.azurite.start())
    assert soon(lambda: admin_call(shared).code == 4, MENDED_WITHIN)


def admin_call(live: Live) -> Ran:
    """Makes a call that needs Vault and changes nothing: exit 4 where Vault answers."""
    return live.admin("secret", "rename", "nobody_has_this", "something_else")


@pytest.fixture(params=["sealed", "killed"])
def vault_away(live: Live, request: pytest.FixtureRequest) -> str:
    """Seals Vault, or kills it."""
    if request.param == "sealed":
        live.running.call(live.stack.openbao.seal())
    else:
        live.stack.openbao.kill()
    return str(request.param)


def test_vault_away_in_mid_run(live: Live, vault_away: str) -> None:
    """Issuing and looking go on from memory; what needs Vault says so, exit 5, changes nothing, and works again
    by itself once Vault is back.
    """
    assert live.issue().code == 0
    assert live.admin.names() == ["azure-blob-demo"]
    assert DEMO in live.admin.done("service-connector", "list-resources").out
    name = unique("late")
    key = ("api-key", "create", name, "--role", "viewer")
    for ran in (live.register(name), live.admin(*key), admin_call(live)):
        assert (ran.code, ran.out) == (5, "")
        assert "Vault" in ran.err
        assert "reason VAULT_UNAVAILABLE" in ran.err
        assert "Traceback" not in ran.err
    if vault_away == "sealed":
        assert "sealed" in admin_call(live).err
    assert live.broker.poll() is None

    live.running.call(live.stack.openbao.recover())
    assert soon(lambda: admin_call(live).code == 4, MENDED_WITHIN)
    assert name not in live.admin.names()
    assert name not in [found["name"] for found in live.admin.done("api-key", "list", "-o", "json").json]
    assert live.register(name).code == 0
    live.allow(name)
    assert live.issue("--connector", name).code == 0
    live.delete(name)
    assert live.broker.poll() is None


def test_vault_sealed_at_the_start(live: Live) -> None:
    """A broker that starts beside a sealed Vault waits for it: callers hear so, and after the unseal it serves."""
    from valetkey_devstack.free_ports import free_port

    live.running.call(live.stack.openbao.seal())
    port = free_port()
    late = live.cli(VALETKEY_ENDPOINT=f"127.0.0.1:{port}")
    with (live.stack.layout.logs / "late.log").open("wb") as log:
        process = start(
            [BROKER, "serve", "--config", live.stack.settings_file],
            env=user_environment(
                {"VALETKEY_BROKER_SERVER__PORT": str(port), "VALETKEY_BROKER_METRICS__PORT": str(free_port())}
            ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            assert soon(lambda: "reason NOT_SERVING" in late("service-connector", "list").err, 60)
            ran = late("service-connector", "list")
            assert (ran.code, ran.out) == (5, "")
            assert "has not read its own store yet" in ran.err
            live.running.call(live.stack.openbao.unseal())
            assert soon(lambda: late("service-connector", "list").code == 0, MENDED_WITHIN)
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def cold(live: Live) -> Iterator[str]:
    """A connector that has not issued yet: its first token needs Entra."""
    name = live.new_connector("--resource-id", DEMO)
    yield name
    live.stack.control_plane.heal()
    live.delete(name)


def test_entra_refuses(live: Live, cold: str) -> None:
    """A secret that Entra takes no more is told by its code, exit 1: another try would not help."""
    live.stack.control_plane.fail("token", 401)
    ran = live.issue("--connector", cold)
    assert (ran.code, ran.out) == (1, "")
    assert "AADSTS7000215" in ran.err
    assert "reason CLOUD_CREDENTIAL_REJECTED" in ran.err
    live.stack.control_plane.heal()
    assert soon(lambda: live.issue("--connector", cold).code == 0, 30)


def test_entra_throttles(live: Live, cold: str) -> None:
    """Azure's own Retry-After reaches the user, Entra is left alone for so long, and then a token comes."""
    live.stack.control_plane.fail("token", 429, retry_after=10)
    ran = live.issue("--connector", cold)
    assert (ran.code, ran.out) == (5, "")
    assert "Azure asks to wait for 10 s" in ran.err
    assert re.search(r"reason CLOUD_THROTTLED · request id \w+ · retry in 10s", ran.err)
    asked = live.stack.control_plane.requests["token"]
    live.stack.control_plane.heal()
    again = live.issue("--connector", cold)
    assert again.code == 5
    assert re.search(r"retry in \d(\.\d+)?s", again.err)
    assert live.stack.control_plane.requests["token"] == asked
    assert soon(lambda: live.issue("--connector", cold).code == 0, 30)


@pytest.mark.parametrize("trouble", ["503", "rubbish", "cut"])
def test_entra_is_unwell(live: Live, cold: str, trouble: str) -> None:
    """Whatever comes, or does not come, instead of an answer: exit 5, in words, and the next call works again."""
    control_plane = live.stack.control_plane
    match trouble:
        case "503":
            control_plane.fail("token", 503)
        case "rubbish":
            control_plane.fail("token", 200, body="<html>it works!</html>")
        case _:
            control_plane.cut("token")
    ran = live.issue("--connector", cold)
    assert (ran.code, ran.out) == (5, "")
    assert "Cannot log in to Entra: " in ran.err
    assert "Try again later" in ran.err
    assert "reason CLOUD_UNAVAILABLE" in ran.err
    assert "html" not in ran.err
    control_plane.heal()
    assert live.issue("--connector", cold).code == 0


def test_entra_away_with_a_key_at_hand(live: Live) -> None:
    """With the delegation key in memory Entra may be away: tokens go on, and they work."""
    live.stack.control_plane.cut("token")
    asked = live.stack.control_plane.requests["token"]
    token = live.issue("-o", "json").json
    list(live.container(token["sas_url"]).list_blobs())
    assert live.stack.control_plane.requests["token"] == asked


def test_storage_away(live: Live) -> None:
    """With the storage service away registering says so, exit 5, and stores nothing; tokens, signed here, go on."""
    name = unique("early")
    live.running.call(live.stack.azurite.stop())
    ran = live.register(name)
    assert (ran.code, ran.out) == (5, "")
    assert "Cannot list containers at storage account" in ran.err
    assert "the connection failed" in ran.err
    assert "reason CLOUD_UNAVAILABLE" in ran.err
    assert name not in live.admin.names()
    listed = live.admin("service-connector", "list-resources")
    assert listed.code == 1
    assert "error: Cannot look at the container" in " ".join(listed.out.split())
    assert live.issue().code == 0
    live.running.call(live.stack.azurite.start())
    assert live.register(name).code == 0
    live.delete(name)
