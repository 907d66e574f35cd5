"""A clock by which every piece of work takes a while, and what rests between such pieces: no time passes in truth."""

import asyncio
import itertools

import pytest

from valetkey_broker.concurrency import background_share


def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Returns the seconds that work in the background rests, one by one, where each look at the clock takes 1 ms."""
    slept: list[float] = []
    looks = itertools.count(1)
    turn = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds:
            slept.append(seconds)
        await turn(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(background_share.time, "perf_counter", lambda: next(looks) / 1000)
    return slept
