"""Explainer: says the same as the decision, why, and what would work instead; to strangers it says nothing."""

from typing import Any

import pytest

from support.core import NOW, PROFILES, FakeClock, make_api_key, make_connector, make_grant, principal
from valetkey_broker.authz.explain import Explainer, Explanation
from valetkey_broker.authz.nearest_allowed import Question
from valetkey_broker.authz.policy import Policy
from valetkey_broker.authz.unusable_api_key import MissingKey
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import (
    Connector,
    InvalidFieldError,
    Permission,
    PermissionSet,
    Principal,
    ResourceId,
    Role,
    TtlLimit,
)
from valetkey_broker.settings import IssuingSettings
from valetkey_broker.state.memory import Memory

TTL = 900
MAX_TTL = 12 * 3600


class World:
    def __init__(self) -> None:
        self.memory = Memory()
        self.clock = FakeClock()
        self.policy = Policy(self.memory, self.clock, PROFILES)
        self.hierarchical: bool | None = None
        settings = IssuingSettings(default_ttl_seconds=TTL, max_ttl_seconds=MAX_TTL)
        self.explainer = Explainer(
            self.policy,
            self.clock,
            settings,
            lambda _connector, _account: self.hierarchical,
            missing_key=MissingKey(self.memory, self.clock).of,
        )
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
        **more: Any,
    ) -> Explanation:
        wanted = PermissionSet(Permission(letter) for letter in permissions)
        question = Question(of or principal(), ResourceId.parse(resource), wanted, **more)
        return self.explainer.explain(asker or principal(Role.AUDITOR, name="key:auditor"), question)


def grant_of(explanation: Explanation) -> str:
    """Returns the name of the grant that allows, empty for none."""
    return explanation.allowance.grant.name if explanation.allowance is not None else ""


@pytest.fixture
def world() -> World:
    return World()


def test_an_allowed_request_names_its_grant(world: World) -> None:
    """The grant that decides comes first and has nothing against it; the others say why they do not."""
    world.grant()
    world.grant("reads", permissions="l")
    explanation = world.explain()
    assert grant_of(explanation) == "training"
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
        (
            {"source_ip": "203.0.113.7"},
            {"source_ip": "203.0.113.8"},
            "it is for the addresses 203.0.113.7, not 203.0.113.8",
        ),
        (
            {},
            {"resource": "https://acc.blob.elsewhere.invalid/demo"},
            "its connectors are in clouds where that is https://acc.blob.dev.invalid, not https://acc.blob.elsewhere.invalid",
        ),
        ({}, {"connector": "other"}, "it is for the connectors azure-blob-demo, not other"),
    ],
)
def test_each_reason_is_told(world: World, fields: dict[str, Any], request_: dict[str, Any], reason: str) -> None:
    """Whoever looks for the mistake finds it in words."""
    world.grant("other", permissions="d")
    world.grant("training", **fields)
    explanation = world.explain(**request_)
    assert [list(f.reasons) for f in explanation.findings if f.grant == "training"] == [[reason]]
    assert grant_of(explanation) == ""


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
    assert grant_of(explanation) == ""


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
    assert grant_of(world.explain(of=principal(name="key:trainer"), asker=asker)) == "training"


def test_a_viewer_explains_only_itself(world: World) -> None:
    """Seeing connectors is not seeing grants."""
    with pytest.raises(BrokerError):
        world.explain(of=principal(name="key:trainer"), asker=principal(Role.VIEWER))


def test_answers_stay_within_bounds(world: World) -> None:
    """Many grants make a long list, not an endless one."""
    for number in range(150):
        world.grant(f"grant-{number}", permissions="l")
    assert len(world.explain().findings) == 100


def test_what_would_be_given_is_told(world: World) -> None:
    """How long a token would live, what limits it, and the addresses it would be bound to, as issuing would have it."""
    world.grant(max_ttl=600, source_ip="203.0.113.1-203.0.113.9")
    allowance = world.explain().allowance
    assert allowance is not None
    assert (allowance.ttl, allowance.limited_by) == (600, TtlLimit.GRANT_MAX_TTL)
    assert allowance.source_ip == "203.0.113.1-203.0.113.9"
    allowance = world.explain(ttl=60, source_ip="203.0.113.2").allowance
    assert allowance is not None
    assert (allowance.ttl, allowance.limited_by, allowance.source_ip) == (60, None, "203.0.113.2")
    with pytest.raises(InvalidFieldError, match="is 2d; expected 1s to 12h, the limit of this broker"):
        world.explain(ttl=2 * 86_400)


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        ("https://acc.blob.elsewhere.invalid/demo", "expected https://acc.blob.dev.invalid (the cloud dev)"),
    ],
)
def test_what_no_grant_would_mend_is_told_in_the_words_of_issuing(world: World, resource: str, said: str) -> None:
    """It said Allowed where `token issue` refused: for another cloud's host. Nearest is the container."""
    world.grant()
    explanation = world.explain(resource)
    assert explanation.allowance is None
    assert said in explanation.error
    assert str(explanation.nearest) == "read on az://demo with the connector azure-blob-demo, by the grant training"


@pytest.mark.parametrize(
    ("resource", "letters", "hierarchical", "said"),
    [
        ("az://demo", "rm", True, "the container az://demo"),
        ("az://demo/a", "rw", None, "the blob az://demo/a, and nothing else"),
        ("az://demo/a/", "rl", True, "the directory az://demo/a/ and all below it, if its account has"),
        ("az://demo/a/", "rl", None, "nobody has asked yet"),
        ("az://demo/a", "rm", True, "which acc is"),
    ],
)
def test_a_path_is_explained_as_it_would_be_cut(
    world: World, resource: str, letters: str, hierarchical: bool | None, said: str
) -> None:
    """Blob and directory look alike but for a slash: what is meant, and what it hangs on, is said."""
    account = make_connector("one-account", storage_account="acc")
    world.memory.put_connector(account)
    world.grant("training", account, permissions="rwlme")
    world.hierarchical = hierarchical
    explanation = world.explain(resource, letters)
    if resource == "az://demo":
        assert "ask for az://demo/PATH/, or without" in explanation.error
        assert str(explanation.nearest).startswith("read on az://demo ")
    else:
        assert explanation.allowance is not None
        assert said in explanation.scope


@pytest.mark.parametrize(
    ("resource", "letters", "said", "nearest"),
    [
        ("az://demo/a/", "rl", "needs an account with hierarchical namespace", "read, list on az://demo "),
        ("az://demo/a", "rl", "az://demo/a is one blob: ask without list", "read on az://demo/a "),
        ("az://demo/a", "rm", "which acc is not: ask without", "read on az://demo/a "),
        ("az://demo/a", "m", "which acc is not: ask without", "read, write on az://demo/a "),
    ],
)
def test_what_no_token_is_for_is_explained(world: World, resource: str, letters: str, said: str, nearest: str) -> None:
    """On a flat account there are no directories, and nothing lists a blob: the nearest is what could be had."""
    account = make_connector("one-account", storage_account="acc")
    world.memory.put_connector(account)
    world.grant("training", account, permissions="rwlme")
    world.hierarchical = False
    explanation = world.explain(resource, letters)
    assert explanation.allowance is None
    assert said in explanation.error
    assert str(explanation.nearest).startswith(nearest)


def test_the_nearest_may_lack_attributes(world: World) -> None:
    """Whoever helps a pod that lacks a claim reads which; the pod itself is not told what others may."""
    world.grant(attributes={"namespace": "ml-*", "team": "vision"}, source_ip="203.0.113.7")
    explanation = world.explain("demo", "rd", of=principal(attributes={"team": "vision"}), source_ip="203.0.113.8")
    assert str(explanation.nearest) == (
        "read on az://demo with the connector azure-blob-demo for the addresses 203.0.113.7, by the grant training, "
        "to somebody with namespace=ml-*"
    )
    me = principal(attributes={"team": "vision"})
    own = world.explain(of=me, asker=me)
    assert (list(own.findings), own.nearest) == ([], None)


def test_a_key_that_is_gone_is_told_beside_what_is_granted(world: World) -> None:
    """Protects who wonders why a call fails that grants allow: the key was revoked, or has expired."""
    world.grant()
    key = make_api_key("test", expires=NOW + 60)

    def told(**more: Any) -> tuple[str, str]:
        found = world.explain(**more)
        return grant_of(found), found.caller_problem

    gone = "there is no API key test: it was revoked, or not created yet"
    assert told() == ("training", gone)
    world.memory.put_api_key(key)
    assert told() == ("training", "")
    world.clock.now += 60
    granted, problem = told()
    assert granted == "training"
    assert problem.startswith("the API key test expired at 2027-")
    world.memory.drop_api_key("test")
    assert told() == ("training", gone)


@pytest.mark.parametrize("name", ["oidc:https://issuer.example#ada", "spiffe://example.org/trainer"])
def test_of_others_nobody_knows_whether_they_can_call(world: World, name: str) -> None:
    """An issuer's word, or a CA's, is known once somebody comes with it."""
    assert world.explain(of=principal(name=name)).caller_problem == ""


def test_oneself_can_call(world: World) -> None:
    """Whoever asks has just shown that; and those without a role learn of nobody's key."""
    assert world.explain(asker=principal(), of=principal()).caller_problem == ""
