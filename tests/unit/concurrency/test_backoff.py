"""Back-off: longer and longer, never for ever, never in step."""

import pytest

from valetkey_broker.concurrency.backoff import Backoff, spread


def test_pauses_double_up_to_the_limit() -> None:
    """Protects what is away from being hammered, and its return from being noticed late."""
    backoff = Backoff(0.5, 3.0, spread=0.0)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_success_begins_anew() -> None:
    """Protects the first attempt after a good while from an old pause."""
    backoff = Backoff(0.5, 3.0, spread=0.0)
    backoff.next()
    backoff.next()
    backoff.reset()
    assert backoff.next() == 0.5


@pytest.mark.parametrize(("share", "least", "most"), [(0.2, 8.0, 12.0), (1.0, 0.0, 20.0)])
def test_pauses_are_spread(share: float, least: float, most: float) -> None:
    """Protects what comes back from replicas that all come back in the same instant."""
    pauses = [Backoff(10.0, 10.0, share).next() for _ in range(200)]
    assert all(least <= pause <= most for pause in pauses)
    assert max(pauses) - min(pauses) > (most - least) / 2


def test_single_pauses_can_be_spread_too() -> None:
    """Protects Vault from replicas that poll in step."""
    assert all(0.8 <= spread(1.0) <= 1.2 for _ in range(200))
    assert len({spread(1.0) for _ in range(20)}) > 10
