"""Permissions of a request: read once for each combination, and never at a price that callers set."""

from itertools import permutations

import pytest

from valetkey_broker.api import convert
from valetkey_broker.api.convert import permission_set
from valetkey_broker.model import InvalidFieldError, Permission


def test_order_and_repetition_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """However a caller writes it, it is one set, kept once: a key that tries all spellings fills no memory."""
    monkeypatch.setattr(convert, "_PERMISSION_SETS", {})  # Other tests ask for other ones.
    for number in range(1, 7):
        for numbers in permutations(range(1, 7), number):
            permission_set(numbers)
            permission_set((*numbers, *numbers))
    assert permission_set([2, 1, 2, 1]) is permission_set([1, 2])
    assert len(convert._PERMISSION_SETS) == 63
    assert permission_set([1] * 32).members == (Permission.READ,)


@pytest.mark.parametrize("numbers", [[1] * 33, list(range(64_000)), [1, 9], [0], [1, 0], [-1], [2**31 - 1], []])
def test_what_makes_no_sense_is_refused_and_not_kept(numbers: list[int]) -> None:
    """Too many values, unknown ones and none at all are errors of the field."""
    before = len(convert._PERMISSION_SETS)
    with pytest.raises(InvalidFieldError) as caught:
        permission_set(numbers)
    assert caught.value.field == "permissions"
    assert len(str(caught.value)) < 200
    assert len(convert._PERMISSION_SETS) == before
