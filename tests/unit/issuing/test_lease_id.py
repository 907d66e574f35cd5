"""Lease ids, which the broker makes itself because the standard library is slow at it."""

import uuid

from broker.issuing.issuer import _new_lease_id


def test_lease_ids_are_random_uuids() -> None:
    """Ids are UUIDs of version 4 in canonical form, and no two are alike."""
    made = [_new_lease_id() for _ in range(500)]
    assert len(set(made)) == 500
    for text in made:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)


def test_every_random_bit_is_used() -> None:
    """Of the 128 bits all but the six fixed ones take both values."""
    numbers = [uuid.UUID(_new_lease_id()).int for _ in range(500)]
    ones = zeros = 0
    for number in numbers:
        ones |= number
        zeros |= ~number & (1 << 128) - 1
    assert (ones & zeros).bit_count() == 122
