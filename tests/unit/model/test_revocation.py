"""Revocations: how they are told, which keys are one and the same, and when nothing of before signs any more."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from support.core import NOW
from valetkey_broker.model import ResourceId
from valetkey_broker.model.revocation import (
    KeyRevocation,
    KeyRevocationState,
    Revocation,
    RevocationState,
    RevocationTarget,
)

_DAY = 24 * 3600
_KEYS = KeyRevocation(cloud="dev", account="acc", through="a", probe_connector="b", container="demo")
_REVOKED = replace(_KEYS, revoked_at=int(NOW))


def revocation(*keys: KeyRevocation, hard: bool = True) -> Revocation:
    return Revocation(
        name="r-1",
        target=RevocationTarget(principal="key:test"),
        reason="",
        hard=hard,
        created_at=datetime.fromtimestamp(NOW, UTC),
        created_by="key:ops",
        keys=keys,
    )


def test_a_target_is_told_with_all_that_it_says() -> None:
    """The ledger and the command line show it: what is left out there looks like more than was revoked."""
    whole = RevocationTarget(
        lease_id="l-1",
        principal="key:test",
        grant="training",
        connector="azure-blob-demo",
        resource=ResourceId("demo", "runs", account="acc", directory=True),
    )
    assert str(whole) == (
        "lease l-1, principal key:test, grant training, connector azure-blob-demo, "
        "resource az://demo/runs/ of account acc"
    )
    assert str(RevocationTarget(resource=ResourceId("demo"))) == "resource az://demo"


@pytest.mark.parametrize("change", [{"cloud": "elsewhere"}, {"account": "other"}, {"rotates": "connectors/a"}])
def test_keys_are_told_apart_by_their_place(change: dict[str, str]) -> None:
    """Of another cloud, another account, or signed by an account's own key: to be revoked by itself."""
    assert replace(_KEYS, **change).place != _KEYS.place == replace(_KEYS, through="c", covered=7).place  # type: ignore[arg-type] # texts


@pytest.mark.parametrize(
    ("keys", "now", "over"),
    [
        (_KEYS, NOW + 30 * _DAY, False),
        (_REVOKED, NOW + 7 * _DAY - 1, False),
        (_REVOKED, NOW + 7 * _DAY, True),
        (replace(_REVOKED, proved_at=int(NOW) + 1), NOW + 1, True),
    ],
)
def test_keys_are_over_when_that_was_proved_or_none_can_live(keys: KeyRevocation, now: float, *, over: bool) -> None:
    """No key lives longer than seven days; what was not revoked never counts as over by itself."""
    assert keys.is_over(now) is over
    assert revocation(keys).state(now, now + 60) is (RevocationState.REVOKED if over else RevocationState.REVOKING)
    assert revocation(keys, hard=False).state(now, now + 60) is RevocationState.WAITING


@pytest.mark.parametrize(
    ("keys", "state"),
    [
        (_KEYS, KeyRevocationState.PENDING),
        (replace(_KEYS, rotation="rotation-1"), KeyRevocationState.REVOKING),
        (_REVOKED, KeyRevocationState.REVOKING),
        (replace(_REVOKED, proved_at=int(NOW)), KeyRevocationState.REVOKED),
    ],
)
def test_how_far_the_keys_of_an_account_are(keys: KeyRevocation, state: KeyRevocationState) -> None:
    """One that was not begun waits, unless the revocation was lifted since: then nobody will begin it."""
    by = revocation(keys)
    assert by.state_of(keys, NOW) is state
    lifted = replace(by, lifted_at=datetime.fromtimestamp(NOW, UTC))
    assert lifted.state_of(keys, NOW) is (KeyRevocationState.GIVEN_UP if keys is _KEYS else state)
    assert lifted.state(NOW, NOW + 60) is RevocationState.LIFTED
