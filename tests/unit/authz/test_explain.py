"""Explainer: says the same as the decision, why, and what would work instead; to strangers it says nothing."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.core import NOW, FakeClock, make_connector, make_grant, principal
from valetkey_broker.authz.explain import Explainer, Explanation, Question
from valetkey_broker.authz.policy import Policy
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Permission, PermissionSet, Principal, ResourceId, Role
from valetkey_broker.state.memory import Memory

TTL = 900


class World:
    def __init__(self) -> None:
        self.memory = Memory()
        self.policy = Policy(self.memory, FakeClock())
        self.explainer = Explainer(self.policy, FakeClock(), TTL)
        self.connector = make_connector()
        self.memory.put_connector(self.connector)

    def grant(self, name: str = "training", *connectors: Connector, **fields: Any) -> None:
        self.memory.put_grant(make_grant(name, *(connectors or (self.connector,)), **fields))

    def explain(
        self,
        resource: str = "demo",
        permissions: str = "r",
        *,
        of: Principal | None = None,
        asker: Principal | None = None,
        connector: str = "",
    ) -> Explanation:
        wanted = PermissionSet(Permission(letter) for letter in permissions)
        question = Question(of or principal(), ResourceId.parse(resource), wanted, connector)
        return self.explainer.explain(asker or principal(Role.AUDITOR, name="key:auditor"), question)


@pytest.fixture
def world() -> World:
    return World()


def test_an_allowed_request_names_its_grant(world: World) -> None:
    """The grant that decides comes first and has nothing against it; the others say why they do not."""
    world.grant()
    world.grant("reads", permissions="l")
    explanation = world.explain()
    assert explanation.grant == "training"
    assert [(f.grant, list(f.reasons)) for f in explanation.findings] == [
        ("training", []),
        ("reads", ["it does not include read"]),
    ]
    assert explanation.nearest is None


@pytest.mark.parametrize(
    ("fields", "request_", "reason"),
    [
        ({"principals": ("key:other",)}, {}, "it does not name key:test"),
        ({"attributes": {"namespace": "ml-*"}}, {}, "it needs the attribute namespace to be ml-*; there is none"),
        ({"containers": ("models", "ml-*")}, {}, "it is for the containers models, ml-*, not demo"),
        ({"containers": ("*web",)}, {"resource": "$web"}, "it is for the containers *web, not $web"),
        ({"prefixes": ("a", "b")}, {}, "it is for the paths a, b only"),
        ({"permissions": "r"}, {"permissions": "rwd"}, "it does not include write, delete"),
        ({"expires": NOW}, {}, "it ended at 2027-01-15T08:00:00+00:00"),
        ({}, {"connector": "other"}, "it is for the connectors azure-blob-demo, not other"),
    ],
)
def test_each_reason_is_told(world: World, fields: dict[str, Any], request_: dict[str, Any], reason: str) -> None:
    """Whoever looks for the mistake finds it in words."""
    world.grant("other", permissions="d")
    world.grant("training", **fields)
    explanation = world.explain(**request_)
    assert [list(f.reasons) for f in explanation.findings if f.grant == "training"] == [[reason]]
    assert explanation.grant == ""


def test_attributes_with_other_values_are_shown_safely(world: World) -> None:
    """A value comes from outside: control characters are escaped."""
    world.grant(attributes={"namespace": "ml-*"})
    explanation = world.explain(of=principal(attributes={"namespace": "x\ny"}))
    assert explanation.findings[0].reasons == [r"it needs the attribute namespace to be ml-*; it is 'x\ny'"]


def test_a_connector_that_is_gone_or_serves_less_is_told(world: World) -> None:
    """The two ways in which a grant is right and its connector is not."""
    single = make_connector("single", "models", account="demoaccount")
    world.memory.put_connector(single)
    world.grant("narrow", single)
    (finding,) = world.explain().findings
    assert finding.reasons == ["its connectors serve az://models of the account demoaccount only"]
    world.memory.put_connector(make_connector("single"))
    (finding,) = world.explain().findings
    assert "is gone" in finding.reasons[0]


def test_a_container_that_was_not_granted_is_not_named(world: World) -> None:
    """A grant on a connector does not tell its holder which container and account that connector is for."""
    me = principal()
    single = make_connector("single", "payroll", account="hiddenaccount")
    world.memory.put_connector(single)
    world.grant("narrow", single, containers=("demo",))
    (own,) = world.explain(of=me, asker=me).findings
    assert own.reasons == ["none of its connectors serves it"]
    assert world.explain("payroll", of=me, asker=me).nearest is None
    assert "hiddenaccount" not in str(world.explain("payroll", of=me, asker=me))
    (told,) = world.explain().findings
    assert told.reasons == ["its connectors serve az://payroll of the account hiddenaccount only"]
    world.grant("narrow", single, containers=("demo", "pay*"))
    (own,) = world.explain(of=me, asker=me).findings
    assert own.reasons == ["its connectors serve az://payroll of the account hiddenaccount only"]


def test_the_nearest_grant_comes_first_and_says_what_would_work(world: World) -> None:
    """One permission too many is nearer than another container; the caller is told what to ask for."""
    world.grant("far", containers=("models",), permissions="rwd")
    world.grant("near", permissions="rl")
    world.grant("others", principals=("key:others",), permissions="rwd")
    explanation = world.explain("demo", "rwd")
    assert [finding.grant for finding in explanation.findings] == ["near", "far", "others"]
    assert str(explanation.nearest) == "read on az://demo with the connector azure-blob-demo, by the grant near"


def test_where_nothing_would_work_nothing_is_named(world: World) -> None:
    """No hope is made: not by grants of others, not by those that have ended, not by patterns."""
    world.grant("others", principals=("key:others",))
    world.grant("ended", expires=NOW - 5)
    world.grant("pattern", containers=("ml-*",))
    explanation = world.explain()
    assert explanation.nearest is None
    assert explanation.grant == ""


def test_an_ordinary_principal_explains_only_itself(world: World) -> None:
    """What others may is not its business, and neither is what it could with other claims."""
    me = principal(name="key:me")
    world.grant("mine", principals=("key:me",))
    world.grant("theirs", principals=("key:others",))
    world.grant("claims", principals=("key:me",), attributes={"namespace": "prod"})
    explanation = world.explain("models", "d", of=me, asker=me)
    assert [finding.grant for finding in explanation.findings] == ["mine"]
    for other in (principal(name="key:others"), principal(name="key:me", attributes={"namespace": "prod"})):
        with pytest.raises(BrokerError) as caught:
            world.explain(of=other, asker=me)
        assert caught.value.reason is Reason.ROLE_REQUIRED
        assert caught.value.metadata["needs"] == "admin or auditor or operator"


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OPERATOR, Role.AUDITOR])
def test_people_with_a_role_explain_others(world: World, role: Role) -> None:
    """Whoever answers the phone can see why a pipeline is refused."""
    world.grant(principals=("key:trainer",))
    asker = principal(role, name="key:person")
    assert world.explain(of=principal(name="key:trainer"), asker=asker).grant == "training"


def test_a_viewer_explains_only_itself(world: World) -> None:
    """Seeing connectors is not seeing grants."""
    with pytest.raises(BrokerError):
        world.explain(of=principal(name="key:trainer"), asker=principal(Role.VIEWER))


def test_answers_stay_within_bounds(world: World) -> None:
    """Many grants make a long list, not an endless one."""
    for number in range(150):
        world.grant(f"grant-{number}", permissions="l")
    assert len(world.explain().findings) == 100


NAMES = st.sampled_from(["key:test", "key:other", "key:te*"])
CONTAINERS = st.sampled_from(["demo", "models", "ml-a", "ml-*"])
PREFIXES = st.sampled_from(["a", "a/b", "c"])
LETTERS = st.text("racwdl", min_size=1, max_size=6)
ATTRIBUTES: st.SearchStrategy[Mapping[str, str]] = st.dictionaries(
    st.sampled_from(["ns", "team"]), st.sampled_from(["x", "y-1", "y-*"]), max_size=2
)
GRANTS = st.lists(
    st.fixed_dictionaries(
        {
            "principals": st.lists(NAMES, min_size=1, max_size=2, unique=True),
            "containers": st.lists(CONTAINERS, min_size=1, max_size=2, unique=True),
            "permissions": LETTERS,
            "prefixes": st.lists(PREFIXES, max_size=2, unique=True),
            "attributes": ATTRIBUTES,
            "max_ttl": st.sampled_from([None, 60, 3600]),
            "expires": st.sampled_from([None, NOW - 1, NOW + 30]),
            "connectors": st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True),
        }
    ),
    max_size=5,
)


@settings(max_examples=400)
@given(
    grants=GRANTS,
    resource=st.sampled_from(["demo", "models", "az://ml-a", "az://demo/a", "az://demo/a/b/c", "az://demo/ab"]),
    letters=LETTERS,
    attributes=st.dictionaries(st.sampled_from(["ns", "team"]), st.sampled_from(["x", "y-1", "z"]), max_size=2),
    connector=st.sampled_from(["", "multi", "single", "gone", "nope"]),
)
def test_explaining_agrees_with_deciding(
    grants: list[dict[str, Any]], resource: str, letters: str, attributes: dict[str, str], connector: str
) -> None:
    """Whatever the grants: an explanation says what the decision does, and what it calls nearest is allowed."""
    world = World()
    connectors = [
        make_connector("multi"),
        make_connector("single", "demo", account="demoaccount"),
        make_connector("gone"),
        make_connector("never"),
    ]
    for known in (*connectors[:2], make_connector("gone")):
        world.memory.put_connector(known)
    for number, fields in enumerate(grants):
        chosen = [connectors[which] for which in fields["connectors"]]
        world.grant(f"grant-{number}", *chosen, **{k: v for k, v in fields.items() if k != "connectors"})
    caller = principal(attributes=attributes)
    wanted = PermissionSet(Permission(letter) for letter in letters)
    parsed = ResourceId.parse(resource)
    explanation = world.explain(resource, letters, of=caller, connector=connector)
    own = world.explain(resource, letters, of=caller, asker=caller, connector=connector)
    try:
        allowed = world.policy.decide(caller, parsed, wanted, ttl=TTL, connector=connector)
    except BrokerError:
        assert explanation.grant == own.grant == ""
        assert all(finding.reasons for finding in (*explanation.findings, *own.findings))
        assert explanation.nearest == own.nearest
        if own.nearest is not None:
            nearest = own.nearest
            again = world.policy.decide(
                caller, nearest.resource, nearest.permissions, ttl=TTL, connector=nearest.connector
            )
            assert again
        return
    assert explanation.grant == own.grant
    assert explanation.grant in {allowance.grant.name for allowance in allowed}
    assert explanation.findings[0].reasons == own.findings[0].reasons == []
    assert explanation.nearest is own.nearest is None
    allowing = {finding.grant for finding in own.findings if not finding.reasons}
    assert {allowance.grant.name for allowance in allowed} <= allowing
