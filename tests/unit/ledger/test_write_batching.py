"""When what has gathered for the ledger is written: who is expected, for how long, and what else ends the wait."""

import asyncio
from collections.abc import Sequence

import pytest

from support.ledgers import denied
from support.waiting import eventually
from valetkey_broker.ledger import write_batching as module
from valetkey_broker.ledger.write_batching import MAX_BATCH, Batch, Gathering

_FOR_EVER = 3600.0


class Written:
    """Takes batches as the ledger's thread would, and says they are done with when told to."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.gathering = Gathering(self.batches.append)

    def add(self, callers: int = 1, records: int = 1) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(callers):
            self.gathering.add(([denied()] * records, loop.create_future()))

    def done(self, took: float | None = 0.0) -> None:
        self.gathering.written(self.batches[-1], took)

    @property
    def sizes(self) -> Sequence[int]:
        return [len(batch) for batch in self.batches]


@pytest.fixture
async def written() -> Written:
    return Written()


@pytest.fixture
def for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is waited for in these tests is waited for until the test has ended."""
    for name in ("_LINGER_EACH", "_LONGEST_LINGER", "_LONGEST_LINGER_OF_MANY", "_FORGOTTEN_SECONDS"):
        monkeypatch.setattr(module, name, _FOR_EVER)


async def _turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def _crowd(written: Written, callers: int) -> None:
    """Has a batch of `callers` written, after which as many are expected."""
    written.add(callers)
    await _turns()
    written.done()


@pytest.mark.usefixtures("for_ever")
async def test_who_is_alone_waits_for_nobody(written: Written) -> None:
    """One record after the other is written as it comes."""
    for _ in range(3):
        written.add()
        await _turns()
        written.done()
    assert written.sizes == [1, 1, 1]


@pytest.mark.usefixtures("for_ever")
async def test_what_comes_in_one_round_of_the_loop_is_written_together(written: Written) -> None:
    """A burst out of nothing is one transaction, and not one for the first and another for the rest."""
    written.add(50)
    await _turns()
    assert written.sizes == [50]


@pytest.mark.usefixtures("for_ever")
async def test_a_crowd_is_written_as_soon_as_it_is_there_again(written: Written) -> None:
    """Those who were just answered are expected again, and nobody beyond them."""
    await _crowd(written, 16)
    written.add(15)
    await _turns()
    assert written.sizes == [16]
    written.add()
    await _turns()
    assert written.sizes == [16, 16]


@pytest.mark.usefixtures("for_ever")
async def test_who_comes_meanwhile_is_expected_besides(written: Written) -> None:
    """Two groups that took turns become one: half as many transactions for the same callers."""
    written.add(10)
    await _turns()
    written.add(6)
    await _turns()
    assert written.sizes == [10]
    written.done()
    written.add(9)
    await _turns()
    assert written.sizes == [10]
    written.add()
    await _turns()
    assert written.sizes == [10, 16]


async def test_those_who_stay_away_hold_up_nobody(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers who died, gave up or were refused do not come again: the others are written without them."""
    monkeypatch.setattr(module, "_FORGOTTEN_SECONDS", _FOR_EVER)
    await _crowd(written, 200)
    written.add(2)
    await eventually(lambda: written.sizes == [200, 2])
    written.done()
    monkeypatch.setattr(module, "_LINGER_EACH", _FOR_EVER)
    monkeypatch.setattr(module, "_LONGEST_LINGER", _FOR_EVER)
    written.add(2)
    await _turns()
    assert written.sizes == [200, 2, 2], "they were waited for once more"


async def test_nobody_is_waited_for_long(written: Written) -> None:
    """However many are expected and however long the disk takes, the wait is some milliseconds."""
    for callers, took in ((2, 0.0), (3, 0.0), (30, 0.001), (200, 30.0), (3, 30.0)):
        written.add(callers)
        await _turns()
        written.done(took)
        assert written.gathering._linger() <= 0.02
        written.gathering.take()
    assert written.gathering._linger() == 0.02


@pytest.mark.usefixtures("for_ever")
async def test_a_crowd_of_long_ago_is_forgotten(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes alone after a while does not wait for those who came before that."""
    await _crowd(written, 50)
    monkeypatch.setattr(module, "_FORGOTTEN_SECONDS", -1.0)
    written.add()
    await _turns()
    assert written.sizes == [50, 1]


@pytest.mark.usefixtures("for_ever")
async def test_a_full_batch_waits_for_nobody(written: Written) -> None:
    """Where as many records wait as are written at once, waiting for more would only keep those who wait."""
    await _crowd(written, 5 * MAX_BATCH)
    assert written.sizes == [MAX_BATCH]  # The others of them wait, and fill the next ones.
    for _ in range(4):
        await _turns()
        written.done()
    assert written.sizes == [MAX_BATCH] * 5
    written.add(2, records=MAX_BATCH)
    await _turns()
    assert written.sizes[5:] == [1]
    written.done()
    await _turns()
    assert written.sizes[5:] == [1, 1]
    written.done()
    await _crowd(written, 3)
    written.add(2)
    await _turns()
    assert written.sizes[7:] == [3], "it was taken for full"


@pytest.mark.usefixtures("for_ever")
async def test_what_was_taken_out_is_not_written(written: Written) -> None:
    """Who was refused meanwhile is not recorded later, and the next one is recorded as ever."""
    await _crowd(written, 3)
    written.add(2)
    assert len(written.gathering.take()) == 2
    assert not written.gathering.take()
    written.add(3)
    assert len(written.gathering.take()) == 3
    await _turns()
    assert written.sizes == [3]
    written.add(3)
    await _turns()
    assert written.sizes == [3, 3]


async def test_how_long_a_failure_took_delays_nobody(written: Written) -> None:
    """Others are let come by what a transaction takes, and one that failed was none."""
    written.add(3)
    await _turns()
    written.done(0.004)
    before = written.gathering._linger()
    assert before == 0.008
    written.add(3)
    await _turns()
    written.done(None)
    assert written.gathering._linger() == before
