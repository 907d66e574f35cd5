"""Lease ids, which the broker makes itself: Python 3.11 has no UUIDs of version 7."""

import uuid

from valetkey_broker.issuing.lease_ids import LeaseIds

NOW = 1_790_000_000.25


def test_lease_ids_are_uuids() -> None:
    """Ids are UUIDs of version 7 in canonical form, and no two are alike."""
    ids = LeaseIds()
    made = [*ids.new(NOW, 1), *ids.new(NOW, 599)]
    assert len(set(made)) == 600
    for text in made:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_ids_begin_with_their_time() -> None:
    """Ids sort by time: that keeps the ledger's index of them together. RFC 9562: 48 bits of milliseconds."""
    ((first,), (later,)) = LeaseIds().new(NOW, 1), LeaseIds().new(NOW + 0.001, 1)
    assert uuid.UUID(first).int >> 80 == round(NOW * 1000)
    assert first < later


def test_every_random_bit_is_used() -> None:
    """Behind the time all but the six fixed bits take both values."""
    ids = LeaseIds()
    numbers = [uuid.UUID(each).int & (1 << 80) - 1 for each in ids.new(NOW, 600)]
    ones = zeros = 0
    for number in numbers:
        ones |= number
        zeros |= ~number & (1 << 80) - 1
    assert (ones & zeros).bit_count() == 74
