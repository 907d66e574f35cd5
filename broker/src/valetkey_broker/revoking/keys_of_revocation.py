"""The keys of one account as a revocation's document has them: how far they are, and what replaces them there."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from valetkey_broker.model.revocation import KeyRevocation, Revocation


def is_open(there: Revocation, keys: KeyRevocation) -> bool:
    """Tells whether those keys are still to be revoked."""
    return _find(there, keys, lambda each: not each.revoked_at)


def is_unproved(there: Revocation, keys: KeyRevocation) -> bool:
    """Tells whether those keys were revoked, and nobody has seen yet that storage acts on it."""
    return _find(there, keys, lambda each: bool(each.revoked_at) and not each.proved_at)


def with_keys(there: Revocation, keys: KeyRevocation, more: Sequence[KeyRevocation] = ()) -> Revocation:
    """Returns the revocation with those keys as they are now, and with `more` that it does not have yet."""
    new = [each for each in more if not any(_same(each, known) for known in there.keys)]
    return replace(there, keys=(*(keys if _same(each, keys) else each for each in there.keys), *new))


def _same(one: KeyRevocation, other: KeyRevocation) -> bool:
    return one.place == other.place


def _find(there: Revocation, keys: KeyRevocation, holds: Callable[[KeyRevocation], bool]) -> bool:
    return any(_same(each, keys) and holds(each) for each in there.keys)
