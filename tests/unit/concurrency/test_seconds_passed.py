"""Ages count what a machine slept through, and no setting back of its clock makes anything younger."""

import pytest

from valetkey_broker.concurrency.seconds_passed import SecondsPassed


class Clocks:
    """Those of a machine that has run for a while."""

    def __init__(self) -> None:
        self.running, self.since_boot, self.wall = 100.0, 150.0, 1_800_000_000.0
        self.passed = SecondsPassed(lambda: self.running, lambda: self.since_boot, lambda: self.wall)
        self._from, self._missed_from = self.passed(), self.passed.missed()

    def go_on(self, running: float, *, suspended: float = 0.0, set_by: float = 0.0) -> tuple[float, float]:
        """Returns how many seconds passed in all by now, and how many of them no timer has counted."""
        self.running += running
        self.since_boot += running + suspended
        self.wall += running + suspended + set_by
        return round(self.passed() - self._from, 3), round(self.passed.missed() - self._missed_from, 3)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_what_a_machine_slept_through_counts(clocks: Clocks) -> None:
    """A laptop that was closed for an hour: its monotonic clock knows nothing of it."""
    assert clocks.go_on(1.0) == (1.0, 0.0)
    assert clocks.go_on(1.0, suspended=3600.0) == (3602.0, 3600.0)
    assert clocks.go_on(1.0) == (3603.0, 3600.0)


def test_a_paused_virtual_machine_hears_of_it_by_the_time_of_day(clocks: Clocks) -> None:
    """All its clocks stood still; once somebody tells it the time, what it knows is that much older."""
    assert clocks.go_on(5.0) == (5.0, 0.0)
    assert clocks.go_on(1.0, set_by=7200.0) == (7206.0, 7200.0)


def test_a_clock_that_is_set_back_makes_nothing_younger(clocks: Clocks) -> None:
    """Nor does it make up for what is missed later."""
    assert clocks.go_on(1.0, set_by=-7200.0) == (1.0, 0.0)
    assert clocks.go_on(1.0, suspended=10.0) == (12.0, 10.0)


def test_a_clock_that_is_put_right_little_by_little_is_no_step(clocks: Clocks) -> None:
    """Time servers do so all day long."""
    for _ in range(100):
        clocks.go_on(10.0, set_by=0.5)
    assert clocks.go_on(0.0) == (1000.0, 0.0)


def test_a_process_that_is_stopped_between_two_clocks_reads_them_again() -> None:
    """What passed in between is no step of any of them."""
    since_boot, wall, stops = [150.0], [1_800_000_000.0], [False, False]

    def read_wall() -> float:
        if stops and stops.pop():
            since_boot[0] += 60.0
            wall[0] += 60.0
        return wall[0]

    passed = SecondsPassed(lambda: since_boot[0] - 50.0, lambda: since_boot[0], read_wall)
    before = passed.missed()
    stops.append(True)
    assert passed() == 210.0
    assert passed.missed() == before


def test_the_clocks_of_this_machine() -> None:
    """They are there, and agree."""
    passed = SecondsPassed()
    first = passed()
    assert 0.0 <= passed() - first < 60.0
