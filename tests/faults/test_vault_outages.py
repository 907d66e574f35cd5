"""Vault sealed, away, slow, and back: what callers are told, and that the broker goes on by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from support.openbao import login_life, running_openbao, store_on, token_of
from support.stopwatch import ends_within
from support.waiting import eventually
from valetkey_broker.adapters.vault import VaultStateStore
from valetkey_broker.errors import BrokerError, Reason
from valetkey_devstack.openbao import OpenBao

pytestmark = pytest.mark.xdist_group("openbao-faults")

# None passes but where Vault is frozen.
TIMEOUT, SHORT_TIMEOUT = 20.0, 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenBao]:
    async with running_openbao(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture
async def bao(server: OpenBao) -> AsyncIterator[OpenBao]:
    """The server, and in order again after a test that failed half-way."""
    yield server
    await server.recover()


@pytest.fixture
async def store(bao: OpenBao) -> AsyncIterator[VaultStateStore]:
    async with store_on(bao, timeout_seconds=TIMEOUT) as unopened:
        yield unopened


@pytest.fixture
async def impatient(bao: OpenBao) -> AsyncIterator[VaultStateStore]:
    """A store that waits for an answer for a second, once it is open."""
    async with store_on(bao, timeout_seconds=SHORT_TIMEOUT) as unopened:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(BrokerError):
                    await unopened.open()
                    break
        yield unopened


async def cause(awaitable: Any) -> str:
    """Awaits a call that has to fail and returns the cause that the caller is told."""
    with pytest.raises(BrokerError) as caught:
        await awaitable
    assert caught.value.reason is Reason.VAULT_UNAVAILABLE
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.metadata["cause"]


async def test_sealed_in_mid_run_and_unsealed(bao: OpenBao, store: VaultStateStore) -> None:
    """A seal is told as such by every call; after the unseal the same store works, with nothing done to it."""
    await store.open()
    await bao.seal()
    assert await cause(store.read("generation")) == "sealed"
    assert await cause(store.write("connectors/sealed", {"n": 1}, expected=0)) == "sealed"
    assert await cause(store.names("connectors")) == "sealed"
    assert await cause(store.newest("generation")) == "sealed"
    assert await cause(store.destroy("connectors/sealed", [1])) == "sealed"
    await bao.unseal()
    assert await store.newest("connectors/sealed") == 0


async def test_sealed_at_the_start(bao: OpenBao, store: VaultStateStore) -> None:
    """A broker that starts beside a sealed Vault is told so, and can open the same store once it is unsealed."""
    await bao.seal()
    assert await cause(store.open()) == "sealed"
    await bao.unseal()
    await store.open()


async def test_away_at_the_start(bao: OpenBao, store: VaultStateStore) -> None:
    """A broker that is up before its Vault can try again, and needs not even that: calls log in by themselves."""
    bao.kill()
    assert await cause(store.open()) == "unreachable"
    assert await cause(store.read("generation")) == "unreachable"
    await bao.restart()
    await store.read("generation")
    await store.open()


async def test_away_in_mid_run_and_back(bao: OpenBao, store: VaultStateStore) -> None:
    """A crash of Vault costs the calls of that time and no others; what was written is there."""
    await store.open()
    await store.write("connectors/crash", {"n": 1}, expected=0)
    bao.kill()
    assert await cause(store.read("connectors/crash")) == "unreachable"
    await bao.restart()
    document = await store.read("connectors/crash")
    assert document is not None
    assert document.data == {"n": 1}


async def test_login_that_lapsed_while_vault_was_away(bao: OpenBao) -> None:
    """After an outage longer than the login's life, the first call logs in anew, and renewal goes on."""
    async with login_life(bao, ttl=2), store_on(bao, timeout_seconds=TIMEOUT) as store:
        await store.open()
        token = token_of(store)
        bao.kill()
        with capture_logs() as lines:
            await asyncio.sleep(3)
        assert {line["event"] for line in lines} == {"the Vault token was not renewed"}
        assert {line["cause"] for line in lines} == {"unreachable"}
        assert len(lines) < 6
        await bao.restart()
        # The admin's own client needs the server back; the store needs nothing. On a busy machine, 2 s are soon over.
        async with login_life(bao, ttl=8):
            await store.read("generation")
            assert token_of(store) != token
            token = token_of(store)
            await eventually(lambda: (store.token_seconds_left() or 0) < 5.5)
            await eventually(lambda: (store.token_seconds_left() or 0) > 6.5)
            await store.read("generation")
            assert token_of(store) == token


async def test_slow_vault_is_a_timeout_that_blocks_nobody(bao: OpenBao, impatient: VaultStateStore) -> None:
    """With a Vault that takes calls and never answers, each call ends in time and the event loop stays free."""
    bao.freeze()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.02)
            ticks += 1

    ticking = asyncio.create_task(tick())
    # Many more than there are threads: the wait for a thread has a bound, too.
    with ends_within():
        causes = await asyncio.gather(*(cause(impatient.read("generation")) for _ in range(500)))
    ticking.cancel()
    assert set(causes) == {"timeout"}
    assert ticks > 5
    bao.thaw()
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(BrokerError):  # Calls that gave up still hold their threads for a moment.
                await impatient.read("generation")
                break


async def test_timed_out_write_is_told_to_be_uncertain(bao: OpenBao, impatient: VaultStateStore) -> None:
    """Nobody repeats a write that may have been done without being told to look first."""
    bao.freeze()
    with pytest.raises(BrokerError, match="whether it was done is not known"):
        await impatient.write("connectors/slow", {"n": 1}, expected=0)
    bao.thaw()


async def test_close_is_quick_and_quiet_without_vault(bao: OpenBao, impatient: VaultStateStore) -> None:
    """A broker stops in time with Vault away or frozen, and says that its login lives until it lapses."""
    bao.freeze()
    with ends_within(), capture_logs() as lines:
        await impatient.close()
    assert [line["event"] for line in lines] == ["the Vault token was not revoked"]
    bao.thaw()


async def test_caller_that_gives_up_takes_nothing_away(bao: OpenBao, store: VaultStateStore) -> None:
    """A caller whose deadline passes during the login leaves the login to the others who wait for it."""
    impatient = asyncio.create_task(store.read("generation"))
    patient = asyncio.create_task(store.read("generation"))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    await patient


async def test_outages_leak_nothing(bao: OpenBao, store: VaultStateStore) -> None:
    """No login, no token and no document shows in what is logged or raised while things go wrong."""
    said: list[str] = []

    async def note(awaitable: Any) -> None:
        with pytest.raises(BrokerError) as caught:
            await awaitable
        said.append(
            f"{caught.value!r} {caught.value.message} {caught.value.metadata} {caught.getrepr(showlocals=True)}"
        )

    with capture_logs() as lines:
        await store.open()
        planted = [
            token_of(store),
            bao.role_id_file.read_text().strip(),
            bao.secret_id_file.read_text().strip(),
        ]
        await note(store.read("other"))
        planted.append(token_of(store))
        await bao.seal()
        await note(store.read("generation"))
        await bao.unseal()
        bao.kill()
        await note(store.read("generation"))
        await store.close()
    await bao.restart()
    text = "\n".join([*said, *map(repr, lines)])
    assert len(set(planted)) == 4
    assert not [secret for secret in planted if secret in text]
