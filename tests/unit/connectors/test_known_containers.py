"""KnownContainers: large listings are taken over in slices, and the work grows with what changed."""

import asyncio
from collections.abc import Iterable

import pytest

from support.background_rests import rests
from support.event_loop_turns import watched
from valetkey_broker.concurrency.cooperative_slices import SLICE
from valetkey_broker.connectors.known_containers import KnownContainers
from valetkey_broker.model import Container


def containers(account: str, names: Iterable[str]) -> list[Container]:
    return [Container(account, name, f"https://{account}.invalid/{name}") for name in names]


async def test_a_large_listing_is_taken_over_in_slices() -> None:
    """25,000 containers that come, change and go never hold the event loop for more than one slice of them."""
    known = KnownContainers()
    names = [f"c{n:05}" for n in range(25_000)]
    async with watched(lambda: len(known.by_name)) as turns:
        await known.listed("acc", containers("acc", names), 1.0)
    assert 0 < turns.most <= SLICE
    async with watched(lambda: -len(known.by_name)) as turns:
        await known.listed("acc", containers("acc", names[:10]), 2.0)
    assert 0 < turns.most <= SLICE
    assert sorted(known.by_name) == names[:10]
    await known.listed("acc", containers("acc", names), 3.0)
    async with watched(lambda: -len(known.by_name)) as turns:
        await known.keep_only([])
    assert 0 < turns.most <= SLICE
    assert not known.by_name


async def test_a_large_listing_leaves_most_of_the_time_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers that come and go in the background do so in their share of the event loop."""
    known, rested = KnownContainers(), rests(monkeypatch)
    names = [f"c{n:05}" for n in range(20 * SLICE)]
    await known.listed("acc", containers("acc", names), 1.0)
    assert sum(rested) >= 0.02
    rested.clear()
    await known.listed("acc", (), 2.0)
    assert sum(rested) >= 0.02
    await known.listed("acc", containers("acc", names), 3.0)
    rested.clear()
    await known.keep_only([])
    assert sum(rested) >= 0.02


async def test_all_containers_are_by_account_and_name_however_they_came() -> None:
    """What people see is in order; a name in many accounts is found in all of them, in order too."""
    known = KnownContainers()
    for account in ("b", "a", "c"):
        await known.listed(account, containers(account, ("two", "one")), 1.0)
    known.checked(*containers("a", ["another"]))
    assert [f"{each.account}/{each.name}" for each in await known.all()] == [
        "a/another",
        *(f"{account}/{name}" for account in "abc" for name in ("one", "two")),
    ]
    assert [each.account for each in known.by_name["one"]] == ["a", "b", "c"]
    known.missing("b", "one")
    assert [each.account for each in known.by_name["one"]] == ["a", "c"]


async def test_a_container_that_is_found_while_its_account_is_listed_stays() -> None:
    """A listing under way is older than what somebody looked at meanwhile."""
    known = KnownContainers()
    listing = asyncio.create_task(known.listed("acc", containers("acc", (f"c{n:05}" for n in range(3 * SLICE))), 1.0))
    await asyncio.sleep(0)
    known.checked(*containers("acc", ["brand-new"]))
    await listing
    assert "brand-new" in known.by_name
    assert len(known.by_name) == 3 * SLICE + 1


async def test_an_account_that_goes_away_while_it_is_listed_is_gone() -> None:
    """What was read of it does not come back."""
    known = KnownContainers()
    listing = asyncio.create_task(known.listed("acc", containers("acc", (f"c{n:05}" for n in range(3 * SLICE))), 1.0))
    await asyncio.sleep(0)
    await known.keep_only([])
    await listing
    assert not known.accounts
    assert not known.by_name
