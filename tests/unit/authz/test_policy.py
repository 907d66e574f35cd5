"""The policy: a consumer uses the connectors its key names, and learns nothing of the others."""

from collections.abc import Callable, Sequence

import pytest

from broker.authz.policy import usable_connectors, visible_connectors
from broker.errors import BrokerError, Reason
from broker.model import Connector, Principal, Role
from broker.state.memory import Memory
from support.core import make_connector, principal

Pick = Callable[[Principal, Memory, str], Sequence[Connector]]
_PICKS: list[Pick] = [usable_connectors, visible_connectors]


@pytest.fixture
def memory() -> Memory:
    """Holds the connectors a, b and c."""
    memory = Memory()
    for name in "cab":
        memory.put_connector(make_connector(name))
    return memory


def _names(connectors: Sequence[Connector]) -> list[str]:
    return [connector.name for connector in connectors]


@pytest.mark.parametrize("pick", _PICKS)
@pytest.mark.parametrize(
    ("named", "seen"),
    [((), []), (("a",), ["a"]), (("c", "a"), ["a", "c"]), (("gone",), []), (("gone", "b"), ["b"]), (("aa",), [])],
)
def test_a_consumer_has_what_its_key_names(memory: Memory, pick: Pick, named: tuple[str, ...], seen: list[str]) -> None:
    """By name, in order; names of connectors that are gone, or only begin alike, give nothing."""
    assert _names(pick(principal(Role.CONSUMER, connectors=named), memory, "")) == seen


@pytest.mark.parametrize("pick", _PICKS)
def test_forbidden_and_missing_sound_the_same(memory: Memory, pick: Pick) -> None:
    """A refusal must not tell strangers what there is: reason, words and facts differ by the name asked only."""
    consumer = principal(Role.CONSUMER, connectors=("a", "gone"))
    heard = []
    for name in ("b", "nowhere", "gone"):
        with pytest.raises(BrokerError) as caught:
            pick(consumer, memory, name)
        assert caught.value.reason is Reason.RESOURCE_DENIED
        heard.append((caught.value.message.replace(name, "X"), str(caught.value.metadata).replace(name, "X")))
    assert len(set(heard)) == 1
    assert _names(pick(consumer, memory, "a")) == ["a"]


@pytest.mark.parametrize("pick", _PICKS)
def test_an_admin_sees_all_and_is_told_what_is_missing(memory: Memory, pick: Pick) -> None:
    """Who sees everything anyway gets the better message."""
    admin = principal(Role.ADMIN)
    assert _names(pick(admin, memory, "")) == ["a", "b", "c"]
    assert _names(pick(admin, memory, "b")) == ["b"]
    with pytest.raises(BrokerError) as caught:
        pick(admin, memory, "nowhere")
    assert caught.value.reason is Reason.CONNECTOR_NOT_FOUND


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])
def test_seeing_is_not_using(memory: Memory, role: Role) -> None:
    """Operators and viewers list what there is, and get no token from it."""
    watcher = principal(role)
    assert _names(visible_connectors(watcher, memory)) == ["a", "b", "c"]
    assert _names(usable_connectors(watcher, memory)) == []
    with pytest.raises(BrokerError) as caught:
        usable_connectors(watcher, memory, "a")
    assert caught.value.reason is Reason.RESOURCE_DENIED


def test_roles_add_up(memory: Memory) -> None:
    """A viewer who is a consumer too uses what the key names and sees the rest."""
    both = principal(Role.VIEWER, Role.CONSUMER, connectors=("a",))
    assert _names(usable_connectors(both, memory)) == ["a"]
    assert _names(visible_connectors(both, memory)) == ["a", "b", "c"]
