"""What a revocation covers, and what those hear whom it covers."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from support.core import NOW, PROFILES, FakeClock, make_connector, make_grant, principal
from valetkey_broker.authz.explain import Explainer, Explanation
from valetkey_broker.authz.nearest_allowed import Question
from valetkey_broker.authz.policy import Policy
from valetkey_broker.authz.revocation_rules import check_container
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Container, Permission, PermissionSet, ResourceId, Role
from valetkey_broker.model.revocation import Revocation, RevocationTarget, TokenUseFacts
from valetkey_broker.settings import IssuingSettings
from valetkey_broker.state.memory import Memory

CONNECTOR = make_connector(storage_account="demoaccount")
READ = PermissionSet([Permission.READ])
TOKEN = TokenUseFacts("key:test", "training", CONNECTOR.name, "demoaccount", "demo", "runs/7")


def revocation(name: str = "r-1", reason: str = "", **target: object) -> Revocation:
    return Revocation(
        name=name,
        target=RevocationTarget(**target),  # type: ignore[arg-type] # any of its parts
        reason=reason,
        hard=False,
        created_at=datetime.fromtimestamp(NOW, UTC),
        created_by="key:ops",
    )


def policy(*grants: str) -> tuple[Memory, Policy]:
    memory = Memory()
    memory.put_connector(CONNECTOR)
    for name in grants or ("training",):
        memory.put_grant(make_grant(name, CONNECTOR))
    return memory, Policy(memory, FakeClock(), PROFILES)


def decide(by: Policy, resource: str = "az://demo", name: str = "key:test") -> str:
    """Returns the grant that is taken, or the reason of the refusal."""
    try:
        return by.decide(principal(name=name), ResourceId.parse(resource), READ, ttl=60)[0].grant.name
    except BrokerError as error:
        return error.reason.name


@pytest.mark.parametrize(
    ("target", "covers"),
    [
        ({"principal": "key:test"}, True),
        ({"principal": "key:other"}, False),
        ({"grant": "training"}, True),
        ({"connector": "azure-blob-demo", "principal": "key:other"}, False),
        ({"resource": ResourceId("demo")}, True),
        ({"resource": ResourceId("demo", account="elsewhere")}, False),
        ({"resource": ResourceId("demo", "runs", directory=True)}, True),
        ({"resource": ResourceId("demo", "runs/7")}, True),
        ({"resource": ResourceId("demo", "runs/7/model.bin")}, True),
        ({"resource": ResourceId("demo", "runs/77")}, False),
        ({"resource": ResourceId("demo", "run")}, False),
        ({"resource": ResourceId("other")}, False),
    ],
)
def test_a_token_is_covered_where_all_that_is_given_fits(target: dict[str, object], covers: bool) -> None:
    """A resource covers what opens any of it, be it less or more; neighbours by name are not meant."""
    assert revocation(**target).target.covers(TOKEN) is covers


def test_a_token_for_all_of_a_container_opens_each_path_in_it() -> None:
    """Whoever is refused a directory must not get it by asking for more."""
    memory, by = policy()
    memory.put_revocation(revocation(resource=ResourceId("demo", "runs", directory=True)))
    assert decide(by) == "ACCESS_REVOKED"
    assert decide(by, "az://demo/other/file") == "training"


def test_who_is_not_allowed_hears_nothing_of_revocations() -> None:
    """Authorised first: a stranger is told what every stranger is told."""
    memory, by = policy()
    memory.put_revocation(revocation(connector=CONNECTOR.name))
    assert decide(by, name="key:stranger") == "RESOURCE_DENIED"
    assert decide(by) == "ACCESS_REVOKED"


def test_another_grant_may_still_allow_it() -> None:
    """A revoked grant is as good as gone; one that covers the principal leaves no way."""
    memory, by = policy("a", "b")
    memory.put_revocation(revocation(grant="a"))
    assert decide(by) == "b"
    memory.put_revocation(revocation("r-2", principal="key:test"))
    assert decide(by) == "ACCESS_REVOKED"
    memory.put_revocation(replace(memory.revocations["r-2"], lifted_at=datetime.fromtimestamp(NOW, UTC)))
    assert decide(by) == "b"


@pytest.mark.parametrize(
    ("connector", "asked"),
    [
        (make_connector(), "https://acc.blob.dev.invalid/demo"),
        (make_connector("single", "demo", account="acc"), "az://demo"),
        (make_connector("of-account", storage_account="acc"), "az://demo"),
    ],
)
def test_one_of_an_account_covers_it_however_the_account_is_known(connector: Connector, asked: str) -> None:
    """The id that was asked for says it, or the connector does: nobody has to be asked to refuse such a token."""
    memory = Memory()
    memory.put_connector(connector)
    memory.put_grant(make_grant("training", connector))
    by = Policy(memory, FakeClock(), PROFILES)
    memory.put_revocation(revocation(resource=ResourceId("demo", account="other")))
    assert decide(by, asked) == "training"
    memory.put_revocation(revocation(resource=ResourceId("demo", account="acc")))
    assert decide(by, asked) == "ACCESS_REVOKED"


@pytest.mark.parametrize(
    "also", [{}, {"principal": "key:test"}, {"grant": "training"}, {"connector": "azure-blob-demo"}]
)
def test_one_of_an_account_that_is_found_later_refuses_then(also: dict[str, object]) -> None:
    """`az://demo` may be in any account: once that is known, it is looked at again, with all else that it says."""
    connector = make_connector()
    grant, container = make_grant("training", connector), Container("acc", "demo", "https://acc.blob.dev.invalid/demo")

    def check(account: str, **target: object) -> None:
        in_force = [revocation("r-2", resource=ResourceId("demo", account=account), **target)]
        check_container(in_force, principal(), grant, connector, container, ResourceId("demo"))

    check("other", **also)
    for name in also:
        check("acc", **{name: "else"})
    with pytest.raises(BrokerError, match="they know it as revocation r-2") as caught:
        check("acc", **also)
    assert caught.value.reason is Reason.ACCESS_REVOKED


def test_the_refused_are_told_whom_to_ask() -> None:
    """Who revoked it, why, and under which id; nothing of how the broker keeps that."""
    memory, by = policy()
    memory.put_revocation(revocation(principal="key:test", reason="key leaked in a CI log"))
    with pytest.raises(BrokerError) as caught:
        by.decide(principal(), ResourceId.parse("az://demo"), READ, ttl=60)
    assert caught.value.reason is Reason.ACCESS_REVOKED
    assert caught.value.public().message == (
        "access to az://demo was revoked by key:ops: key leaked in a CI log. Ask them; they know it as revocation r-1"
    )
    assert caught.value.metadata == {"resource": "az://demo", "revocation": "r-1", "ask": "key:ops"}


def test_an_explanation_knows_of_what_was_taken_back() -> None:
    """Also where the account is named by the revocation only: refused where memory knows it, said where it does not."""
    memory = Memory()
    connector = make_connector()
    memory.put_connector(connector)
    memory.put_grant(make_grant("training", connector))
    by = Policy(memory, FakeClock(), PROFILES)
    memory.put_revocation(revocation(resource=ResourceId("demo", account="acc"), principal="key:test"))
    question = Question(principal(), ResourceId.parse("az://demo"), READ)
    auditor = principal(Role.AUDITOR, name="key:auditor")

    def explained(*accounts: str) -> Explanation:
        there = [Container(each, "demo", f"https://{each}.blob.dev.invalid/demo") for each in accounts]
        explainer = Explainer(by, FakeClock(), IssuingSettings(), known=lambda _connector, _name, _account: there)
        return explainer.explain(auditor, question)

    refused = explained("acc")
    assert (refused.allowance, refused.nearest) == (None, None)
    assert "r-1" in refused.error
    assert explained("other").allowance is not None
    assert explained("acc", "other").allowance is not None
    unknown = explained()
    assert unknown.allowance is not None
    assert "in the account acc it is refused: access was revoked by key:ops" in unknown.scope


def test_the_nearest_is_nothing_that_was_taken_back() -> None:
    """What the answer offers instead must not be what it refuses; another grant's way that is open is offered."""
    memory, by = policy("a", "b")
    question = Question(principal(), ResourceId.parse("az://demo"), PermissionSet([Permission.DELETE]))
    auditor = principal(Role.AUDITOR, name="key:auditor")

    def nearest() -> str:
        found = Explainer(by, FakeClock(), IssuingSettings()).explain(auditor, question)
        return str(found.nearest or "")

    assert nearest().endswith("by the grant a")
    memory.put_revocation(revocation(grant="a"))
    assert nearest().endswith("by the grant b")
    memory.put_revocation(revocation("r-2", principal="key:test"))
    assert nearest() == ""
