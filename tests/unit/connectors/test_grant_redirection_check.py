"""Whom it takes to have grants mean something else, and which grants are meant."""

from dataclasses import replace

import pytest

from support.core import NOW, make_connector, make_grant, make_rotation
from valetkey_broker.connectors.grant_redirection_check import bound_grants, check_redirection, still_may_redirect
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Role
from valetkey_broker.state.memory import Memory

_CONNECTOR = make_connector(storage_account="one")


@pytest.mark.parametrize(
    ("could", "now", "may"),
    [
        (True, {Role.ADMIN}, True),
        (True, {Role.ADMIN, Role.OPERATOR}, True),
        (True, {Role.OPERATOR}, False),
        (True, set(), False),
        (False, {Role.ADMIN}, False),
    ],
)
def test_who_began_a_rotation_has_to_be_an_admin_still(could: bool, now: set[Role], *, may: bool) -> None:
    """An admin then and now: neither a role that was taken away since counts, nor one that was given since."""
    asked = []

    def roles_now(name: str, key_uid: str) -> frozenset[Role]:
        asked.append((name, key_uid))
        return frozenset(now)

    rotation = replace(make_rotation(_CONNECTOR.object_path), started_by_uid="uid", may_redirect=could)
    assert still_may_redirect(rotation, roles_now) is may
    assert asked == [("key:ops", "uid")]


def test_grants_that_a_connector_is_bound_by() -> None:
    """Those that are for it, and not for another or an earlier one of its name, and that have not ended."""
    grants = [
        make_grant("b", make_connector("other"), _CONNECTOR, expires=NOW + 1),
        make_grant("a", _CONNECTOR),
        make_grant("ended", _CONNECTOR, expires=NOW),
        make_grant("of-another", make_connector("other")),
        make_grant("of-an-earlier-one", make_connector(_CONNECTOR.name)),
    ]
    assert bound_grants(_CONNECTOR, grants, NOW) == ["a", "b"]


def test_a_change_that_leads_elsewhere_takes_an_admin_where_grants_are_bound() -> None:
    """Without grants nobody is handed anything, and a change that stays where it was hands nobody anything else."""
    memory = Memory()
    memory.put_grant(make_grant("ended", _CONNECTOR, expires=NOW))
    elsewhere = make_connector(uid=_CONNECTOR.uid, storage_account="two")
    check_redirection(memory, _CONNECTOR, elsewhere, NOW, may_redirect=False)
    memory.put_grant(make_grant("training", _CONNECTOR))
    check_redirection(memory, _CONNECTOR, replace(_CONNECTOR, description="words"), NOW, may_redirect=False)
    check_redirection(memory, _CONNECTOR, elsewhere, NOW, may_redirect=True)
    with pytest.raises(BrokerError, match="training") as caught:
        check_redirection(memory, _CONNECTOR, elsewhere, NOW, may_redirect=False)
    assert caught.value.reason is Reason.ROLE_REQUIRED
