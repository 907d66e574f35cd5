"""RecentListings: one question to Azure for many callers, soon asked again, never too soon."""

import asyncio
from collections.abc import Sequence

import pytest

from support.core import NOW, FakeClock, make_connector
from valetkey_broker.connectors.listings import RecentListings
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Container

_ONE = make_connector("one")


class Azure:
    """What is asked; answers with one container more each time, unless `error` is set or `gate` is closed."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.listings = RecentListings(self.ask, self.clock)
        self.asked = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, connector: Connector) -> Sequence[Container]:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [Container("acc", connector.name, "url")] * self.asked

    async def found(self, connector: Connector = _ONE) -> int:
        return len(await self.listings.get(connector))

    async def failure(self) -> BrokerError:
        with pytest.raises(BrokerError) as caught:
            await self.listings.get(_ONE)
        return caught.value


async def test_an_answer_stands_for_two_seconds() -> None:
    """New containers show up soon."""
    azure = Azure()
    assert [await azure.found(), await azure.found()] == [1, 1]
    azure.clock.now = NOW + 1.9
    assert await azure.found() == 1
    azure.clock.now = NOW + 2
    assert await azure.found() == 2


async def test_connectors_and_versions_are_told_apart() -> None:
    """A namesake, or a credential that was rotated, may reach something else."""
    azure = Azure()
    await azure.found()
    for other in (make_connector("one"), make_connector("one", uid=_ONE.uid, version=2)):
        await azure.found(other)
    assert azure.asked == 3


async def test_errors_are_shared_too() -> None:
    """A broken secret that is asked for in a loop is no herd of log-ins; two seconds later it may be mended."""
    azure = Azure()
    azure.error = BrokerError(Reason.CLOUD_UNAVAILABLE, "no", {"step": "list"}, retry_after=30)
    for _ in range(3):
        failure = await azure.failure()
        assert (failure.reason, failure.metadata, failure.retry_after) == (
            Reason.CLOUD_UNAVAILABLE,
            {"step": "list"},
            30,
        )
    assert azure.asked == 1
    azure.error = None
    azure.clock.now = NOW + 2
    assert await azure.found() == 2


async def test_azures_own_later_is_heeded() -> None:
    """Until then nobody asks again, and callers are told the seconds that are left."""
    azure = Azure()
    azure.error = BrokerError(Reason.CLOUD_THROTTLED, "later", retry_after=20)
    await azure.failure()
    azure.clock.now = NOW + 19
    assert (await azure.failure()).retry_after == 1
    assert azure.asked == 1
    azure.error = None
    azure.clock.now = NOW + 20
    assert await azure.found() == 2


async def test_a_defect_is_not_kept() -> None:
    """Only the broker's own errors are answers."""
    azure = Azure()
    azure.error = KeyError("PLANTED")
    with pytest.raises(KeyError):
        await azure.found()
    azure.error = None
    assert await azure.found() == 2


async def test_a_caller_who_hangs_up_does_not_take_the_others_along() -> None:
    """One cancelled call leaves the question going for everybody else."""
    azure = Azure()
    azure.gate.clear()
    leaving, staying = [asyncio.create_task(azure.found()) for _ in range(2)]
    await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.sleep(0.01)
    azure.gate.set()
    assert await staying == 1
    assert azure.asked == 1


async def test_close_ends_what_is_under_way() -> None:
    """Nothing is left running after the broker's end."""
    azure = Azure()
    azure.gate.clear()
    waiting = asyncio.create_task(azure.found())
    await asyncio.sleep(0.01)
    await azure.listings.close()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("listing")]


async def test_nothing_is_kept_of_connectors_that_are_gone() -> None:
    """Memory does not grow with every connector there ever was."""
    azure = Azure()
    for number in range(50):
        azure.clock.now = NOW + 3 * number
        await azure.found(make_connector(f"c-{number}"))
    assert len(azure.listings._answers) == 1
