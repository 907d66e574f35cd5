"""Slots: so many at once for each key, given back however the block ends."""

import pytest

from valetkey_broker.limits import Slots


def test_so_many_and_no_more() -> None:
    """The last slot is given, one more is not, and another key has its own."""
    slots = Slots(2)
    with slots.hold("a") as one, slots.hold("a") as two, slots.hold("a") as three, slots.hold("b") as other:
        assert (one, two, three, other) == (True, True, False, True)


def test_refused_holders_take_nothing() -> None:
    """Who was refused gives back nothing that it never had."""
    slots = Slots(1)
    with slots.hold("a"):
        with slots.hold("a") as refused:
            assert not refused
        with slots.hold("a") as refused:
            assert not refused
    with slots.hold("a") as held:
        assert held


def test_given_back_after_an_error() -> None:
    """An error in the block frees the slot."""
    slots = Slots(1)
    with pytest.raises(RuntimeError), slots.hold("a"):
        raise RuntimeError
    with slots.hold("a") as held:
        assert held


def test_nothing_is_remembered_of_who_is_gone() -> None:
    """Memory holds only keys with something open, also after refusals."""
    slots = Slots(1)
    for number in range(100):
        with slots.hold(f"key-{number}"), slots.hold(f"key-{number}"):
            pass
    assert not slots._open
