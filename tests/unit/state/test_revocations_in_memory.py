"""Revocations in memory: what is in force, and which keys are dead, whatever comes, changes and goes in what order."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from support.core import NOW, make_connector
from valetkey_broker.model.revocation import KeyRevocation, Revocation, RevocationTarget, SignerKind
from valetkey_broker.state.memory import Memory

_CONNECTOR = make_connector()
_keys = st.builds(
    KeyRevocation,
    cloud=st.just("dev"),
    account=st.sampled_from(["one", "two"]),
    through=st.just(""),
    probe_connector=st.just(""),
    container=st.just("demo"),
    revoked_at=st.sampled_from([0, 5, 7, 9]),
    kind=st.sampled_from([SignerKind.USER_DELEGATION_KEY, SignerKind.ACCOUNT_KEY]),
)
_revocations = st.builds(
    Revocation,
    name=st.sampled_from(["r-1", "r-2", "r-3"]),
    target=st.just(RevocationTarget(principal="key:trainer")),
    reason=st.just(""),
    hard=st.booleans(),
    created_at=st.sampled_from([datetime.fromtimestamp(NOW + seconds, UTC) for seconds in range(3)]),
    created_by=st.just("key:ops"),
    keys=st.lists(_keys, max_size=2).map(tuple),
    lifted_at=st.sampled_from([None, datetime.fromtimestamp(NOW, UTC)]),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(_revocations, st.sampled_from(["r-1", "r-2", "r-3"])), max_size=8))
def test_it_is_as_if_all_had_been_read_anew(happened: Sequence[Revocation | str]) -> None:
    """None that is in force is missed, none that was lifted goes on, and no revoked key comes to life."""
    memory = Memory()
    for each in happened:
        if isinstance(each, str):
            memory.drop_revocation(each)
        else:
            memory.put_revocation(each)
    known = memory.revocations.values()
    in_force = [each for each in known if each.lifted_at is None]
    assert list(memory.in_force) == sorted(in_force, key=lambda each: (each.created_at, each.name))
    for account in ("one", "two"):
        dead = [
            keys.revoked_at
            for each in known
            for keys in each.keys
            if keys.account == account and keys.kind is SignerKind.USER_DELEGATION_KEY
        ]
        assert memory.keys_not_before(replace(_CONNECTOR, keys_not_before=0), account) == max(dead, default=0)
