"""Decision: when a token that one signed may leave by another, which was made since."""

from dataclasses import replace

import pytest

from support.core import NOW, OTHER_PROFILE, PROFILE, make_connector, make_grant
from valetkey_broker.authz.policy import Allowance
from valetkey_broker.issuing.decider import Decision
from valetkey_broker.model import Container, Scope, SigningKey, TtlLimit

_CONNECTOR = make_connector()
_ALLOWANCE = Allowance(_CONNECTOR, make_grant("training", _CONNECTOR), 900, NOW + 3600, "", None)


def _scope(account: str = "acc", path: str = "") -> Scope:
    container = Container.of(PROFILE, account, "demo")
    return Scope.of_path(container, path, directory=False) if path else Scope.of_container(container)


_DECISION = Decision(_CONNECTOR, PROFILE, _scope(), _ALLOWANCE, SigningKey("acc", NOW, NOW + 7200, None), 1)


def test_a_token_may_leave_by_one_that_makes_the_same() -> None:
    """What changed in memory meanwhile meant others; what is left of a grant's time grows less by itself."""
    assert _DECISION.makes_the_same(replace(_DECISION, changes=2))
    assert _DECISION.makes_the_same(replace(_DECISION, connector=replace(_CONNECTOR, description="other words")))
    for limit in (TtlLimit.GRANT_END, TtlLimit.IDENTITY_END):
        ending = replace(_ALLOWANCE, limited_by=limit)
        assert replace(_DECISION, allowance=ending).makes_the_same(
            replace(_DECISION, allowance=replace(ending, ttl=899))
        )


@pytest.mark.parametrize(
    "other",
    [
        replace(_DECISION, key=replace(_DECISION.key)),
        replace(_DECISION, connector=make_connector()),
        replace(_DECISION, connector=make_connector("other", uid=_CONNECTOR.uid)),
        replace(_DECISION, connector=replace(_CONNECTOR, credential_version=2)),
        replace(_DECISION, scope=_scope("other")),
        replace(_DECISION, scope=_scope(path="a")),
        replace(_DECISION, profile=OTHER_PROFILE),
        *(
            replace(_DECISION, allowance=replace(_ALLOWANCE, **change))
            for change in (
                {"grant": make_grant("another", _CONNECTOR)},
                {"source_ip": "203.0.113.7"},
                {"ends": NOW + 60},
                {"ttl": 60},
                {"limited_by": TtlLimit.GRANT_MAX_TTL},
            )
        ),
    ],
)
def test_what_differs_is_signed_anew(other: Decision) -> None:
    """A token is what its record says of it, and what is allowed when it leaves: any other way it is made again."""
    assert not _DECISION.makes_the_same(other)
    assert not other.makes_the_same(_DECISION)
