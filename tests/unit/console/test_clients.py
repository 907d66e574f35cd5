"""Connections to the broker: one for each bearer, for as long as it is used, and not longer in memory."""

import asyncio
import contextlib

import pytest

from support.waiting import eventually
from valetkey_console.broker import clients
from valetkey_console.broker.clients import Clients


class FakeClient:
    """Is open until it is closed."""

    made: list["FakeClient"]

    def __init__(self, _endpoint: str, *, api_key: str, **_more: object) -> None:
        self.bearer, self.closed = api_key, False
        FakeClient.made.append(self)

    async def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[FakeClient]:
    FakeClient.made = []
    monkeypatch.setattr(clients, "AsyncClient", FakeClient)
    return FakeClient.made


def in_use(made: list[FakeClient]) -> list[str]:
    """Returns the bearers of connections that are open; the first is the one that tries the settings."""
    return [each.bearer for each in made[1:] if not each.closed]


async def test_one_for_each_bearer(made: list[FakeClient]) -> None:
    """Requests of one person share it, also at once; another's bearer never goes over it."""
    pool = Clients("broker:1", None)
    async with pool.of("a") as one, pool.of("a") as same, pool.of("b") as other:
        assert one is same
        assert one is not other
    async with pool.of("a") as again:
        assert again is one
    await pool.close()
    assert in_use(made) == []


async def test_an_idle_one_is_closed(made: list[FakeClient]) -> None:
    """Once nobody has used it for a while; who comes in time keeps it."""
    pool = Clients("broker:1", None, idle_seconds=0.05)
    async with pool.of("a"):
        await asyncio.sleep(0.2)
        assert in_use(made) == ["a"]
    await eventually(lambda: in_use(made) == [])
    async with pool.of("a"):
        assert in_use(made) == ["a"]
    await pool.close()


async def test_a_log_out_closes_it(made: list[FakeClient]) -> None:
    """At once; one that is in use goes on, and one that is not there is none."""
    pool = Clients("broker:1", None)
    async with pool.of("a"):
        await pool.forget("a")
        assert in_use(made) == ["a"]
    await pool.forget("a")
    await pool.forget("b")
    assert in_use(made) == []


async def test_more_than_are_kept(made: list[FakeClient], monkeypatch: pytest.MonkeyPatch) -> None:
    """Are made, and end with their request: memory is bounded."""
    monkeypatch.setattr(clients, "MOST", 2)
    pool = Clients("broker:1", None)
    for bearer in "abcd":
        async with pool.of(bearer):
            pass
    assert in_use(made) == ["a", "b"]
    await pool.close()
    assert in_use(made) == []


async def test_more_than_are_kept_wait_for_their_turn(made: list[FakeClient], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask at once: so many connections are there, and not one for each."""
    monkeypatch.setattr(clients, "MOST", 0)
    monkeypatch.setattr(clients, "MOST_MORE", 2)
    pool = Clients("broker:1", None)
    most = 0

    async def one(bearer: str) -> None:
        nonlocal most
        async with pool.of(bearer):
            most = max(most, len(in_use(made)))
            await asyncio.sleep(0)

    await asyncio.gather(*(one(bearer) for bearer in "abcdefgh"))
    assert most == 2
    assert len(made) == 9


async def test_trials_are_not_kept(made: list[FakeClient], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever somebody tries to log in by goes with its trial, and takes no room of those who are logged in."""
    monkeypatch.setattr(clients, "MOST_TRIALS", 2)
    pool = Clients("broker:1", None)
    most = 0

    async def one(bearer: str) -> None:
        nonlocal most
        with contextlib.suppress(PermissionError):
            async with pool.trial(bearer):
                most = max(most, len(in_use(made)))
                await asyncio.sleep(0)
                raise PermissionError(bearer)

    await asyncio.gather(*(one(bearer) for bearer in "abcdefgh"))
    assert most == 2
    assert in_use(made) == []
    async with pool.trial("good"):
        pass
    assert in_use(made) == []
