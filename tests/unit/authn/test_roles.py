"""Roles: those that are bound to a name, and what is left of them for somebody who called a while ago."""

from dataclasses import replace
from datetime import UTC, datetime

from support.core import NOW, FakeClock, make_api_key
from valetkey_broker.authn.roles import RoleBindings, RolesNow
from valetkey_broker.model import Pattern, Role
from valetkey_broker.state.memory import Memory

_BINDINGS = RoleBindings(
    [(Role.OPERATOR, [Pattern("key:x", "principals"), Pattern("key:tr*", "principals")]), (Role.ADMIN, [])]
)


def test_roles_are_bound_by_name() -> None:
    """One of the patterns has to match; without bindings nobody has a role."""
    assert _BINDINGS.of("key:trainer") == {Role.OPERATOR}
    assert _BINDINGS.of("key:other") == frozenset()
    assert RoleBindings().of("key:trainer") == frozenset()


def test_what_is_left_of_the_roles_of_an_earlier_caller() -> None:
    """A key that was revoked, that ended, or in whose place is another of its name, gives no roles any more."""
    memory, clock = Memory(), FakeClock()
    roles_now = RolesNow(memory, _BINDINGS, clock)
    key = make_api_key(roles=frozenset({Role.ADMIN}))
    assert roles_now.of("key:trainer", key.uid) == frozenset()
    memory.put_api_key(key)
    assert roles_now.of("key:trainer", key.uid) == {Role.ADMIN, Role.OPERATOR}
    memory.put_api_key(make_api_key(roles=frozenset({Role.ADMIN})))
    assert roles_now.of("key:trainer", key.uid) == frozenset()
    memory.put_api_key(replace(key, expires_at=datetime.fromtimestamp(NOW, UTC)))
    assert roles_now.of("key:trainer", key.uid) == frozenset()
    assert RolesNow(memory, RoleBindings([(Role.VIEWER, [Pattern("oidc:*", "x")])]), clock).of("oidc:a", "") == {
        Role.VIEWER
    }
