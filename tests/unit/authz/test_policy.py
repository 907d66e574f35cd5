"""Policy: one grant must allow all of a request; what is decided is deterministic and follows every change at once."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from support.core import NOW, PROFILES, FakeClock, make_connector, make_grant, principal
from valetkey_broker.authz.compiled_grants import GrantIndex
from valetkey_broker.authz.policy import Allowance, Policy, serves
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Connector, Evidence, Permission, PermissionSet, Principal, ResourceId, Role, TtlLimit
from valetkey_broker.state.memory import Memory

READ = PermissionSet((Permission.READ,))
NAMES = {"r": "read", "a": "add", "c": "create", "w": "write", "d": "delete", "l": "list"}


class World:
    """Memory with a multi-instance connector, and a policy over it."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.clock = FakeClock()
        self.policy = Policy(self.memory, self.clock, PROFILES)
        self.connector = make_connector()
        self.memory.put_connector(self.connector)

    def grant(self, name: str = "training", *connectors: Connector, **fields: Any) -> None:
        self.memory.put_grant(make_grant(name, *(connectors or (self.connector,)), **fields))

    def decide(
        self, resource: str = "demo", permissions: str = "r", *, caller: Principal | None = None, **request: Any
    ) -> Allowance:
        """Returns the only allowance."""
        (allowance,) = self.policy.decide(
            caller or principal(),
            ResourceId.parse(resource),
            PermissionSet(Permission(letter) for letter in permissions),
            **{"ttl": 900, **request},
        )
        return allowance

    def refused(self, *arguments: Any, **request: Any) -> BrokerError:
        with pytest.raises(BrokerError) as caught:
            self.decide(*arguments, **request)
        assert caught.value.reason is Reason.RESOURCE_DENIED
        return caught.value


@pytest.fixture
def world() -> World:
    return World()


def test_without_grants_nobody_gets_anything(world: World) -> None:
    """Default deny, whatever the role."""
    assert world.refused().metadata == {"resource": "az://demo"}


def test_a_grant_allows_what_it_says(world: World) -> None:
    """The allowance names grant, connector, seconds and address."""
    world.grant()
    allowance = world.decide("az://demo", "rl")
    assert (allowance.connector, allowance.grant.name) == (world.connector, "training")
    assert (allowance.ttl, allowance.source_ip) == (900, "")


@pytest.mark.parametrize("asked", ["w", "rw", "rlwacd"])
def test_one_permission_too_many_refuses_all_and_says_which(world: World, asked: str) -> None:
    """A narrower token than asked for would surprise; the caller is told what is missing."""
    world.grant()
    refusal = world.refused("demo", asked)
    missing = ",".join(NAMES[letter] for letter in "acwd" if letter in asked)
    assert refusal.metadata == {"resource": "az://demo", "missing": missing}
    assert missing in refusal.message


def test_grants_do_not_add_up(world: World) -> None:
    """One grant must allow everything: what two allow between them nobody has said yes to."""
    world.grant("reads", permissions="r")
    world.grant("writes", permissions="w")
    assert world.refused("demo", "rw").metadata["missing"] in ("read", "write")
    world.grant("reads", permissions="r", containers=("demo", "models"))
    world.grant("deploys", containers=("serving",), permissions="rl")
    assert "missing" in world.refused("models", "rl").metadata


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("key:test", ["key:test"], ["key:test2", "key:tes", "key:Test", "KEY:test", "key:test ", "key:te\u0073\u0307"]),
        ("key:train-*", ["key:train-a"], ["key:train-", "key:train-a/b", "key:train-a:b", "key:train", "xkey:train-a"]),
        (
            "oidc:https://k.invalid#system:serviceaccount:ml:*",
            ["oidc:https://k.invalid#system:serviceaccount:ml:trainer"],
            [
                "oidc:https://k.invalid#system:serviceaccount:ml:trainer:x",
                "oidc:https://k.invalid#system:serviceaccount:ml:a#b",
                "oidc:https://k.invalid#system:serviceaccount:ml-evil:trainer",
                "oidc:https://k.invalid/#system:serviceaccount:ml:trainer",
                "oidc:https://evil.invalid#system:serviceaccount:ml:trainer",
                "oidc:https://evil.invalid#oidc:https://k.invalid#system:serviceaccount:ml:trainer",
            ],
        ),
        (
            "spiffe://ml.invalid/ns/*/sa/trainer",
            ["spiffe://ml.invalid/ns/a/sa/trainer"],
            [
                "spiffe://ml.invalid/ns/a/b/sa/trainer",
                "spiffe://ml.invalid/ns//sa/trainer",
                "spiffe://ml.invalid.evil/ns/a/sa/trainer",
                "spiffe://ml.invalid/ns/a/sa/trainer/x",
                "spiffe://ML.invalid/ns/a/sa/trainer",
            ],
        ),
        ("key:*-*", ["key:a-b", "key:a-b-c"], ["key:-", "key:a-", "key:-b", "key:ab"]),
    ],
)
def test_principals(world: World, pattern: str, matching: list[str], others: list[str]) -> None:
    """Names are compared as a whole and exactly; `*` stays inside a segment, and separators open no other."""
    world.grant(principals=(pattern,))
    for name in matching:
        assert world.decide(caller=principal(name=name)).grant.name == "training"
    for name in others:
        world.refused(caller=principal(name=name))
        assert world.policy.visible(principal(name=name)).connectors() == []


def test_each_of_several_principals_is_meant(world: World) -> None:
    """A grant for several is one for each of them, and for nobody else."""
    world.grant(principals=("key:a", "key:b-*", "key:c"))
    for name in ("key:a", "key:b-1", "key:c"):
        world.decide(caller=principal(name=name))
        assert world.policy.visible(principal(name=name)).connectors() == [world.connector]
    world.refused(caller=principal(name="key:d"))


@pytest.mark.parametrize(
    ("has", "allowed"),
    [
        ({"namespace": "ml-a", "team": "vision"}, True),
        ({"namespace": "ml-a", "team": "vision", "other": "x"}, True),
        ({"namespace": "ml-a"}, False),
        ({"namespace": "ml-", "team": "vision"}, False),
        ({"namespace": "ML-a", "team": "vision"}, False),
        ({"namespace": "ml-a/b", "team": "vision"}, False),
        ({"namespace": "ml-a", "team": "Vision"}, False),
        ({"Namespace": "ml-a", "team": "vision"}, False),
        ({}, False),
    ],
)
def test_all_attributes_must_fit(world: World, has: Mapping[str, str], *, allowed: bool) -> None:
    """A claim that is missing or different is no claim."""
    world.grant(attributes={"namespace": "ml-*", "team": "vision"})
    caller = principal(attributes=has)
    if allowed:
        world.decide(caller=caller)
    else:
        world.refused(caller=caller)


def test_what_is_remembered_is_not_shared_between_attributes(world: World) -> None:
    """Two callers of one name with different claims, as two tokens may have them, get their own answers."""
    world.grant(attributes={"namespace": "ml-a"})
    world.decide(caller=principal(attributes={"namespace": "ml-a"}))
    world.refused(caller=principal(attributes={"namespace": "ml-b"}))
    world.refused(caller=principal())


def test_what_is_remembered_is_not_shared_between_requests(world: World) -> None:
    """What one request was allowed allows no other: of another caller, for another container, for more permissions."""
    world.grant()
    world.decide()
    world.refused("demo", "w")
    world.refused("models")
    world.refused(caller=principal(name="key:other"))
    assert world.refused("demo", "rw").metadata["missing"] == "write"


@pytest.mark.parametrize(
    ("containers", "matching", "others"),
    [
        (("models",), ["models"], ["models-evil", "model", "demo"]),
        (("ml-*",), ["ml-a", "ml-a-b"], ["mla", "xml-a", "demo"]),
        (("ml-*", "demo"), ["ml-a", "demo"], ["models"]),
    ],
)
def test_containers(world: World, containers: tuple[str, ...], matching: list[str], others: list[str]) -> None:
    """A container is one of those named, or matches a pattern as a whole."""
    world.grant(containers=containers)
    for container in matching:
        world.decide(container)
    for container in others:
        world.refused(container)


@pytest.mark.parametrize(
    ("pattern", "container"), [("*web", "$web"), ("*logs", "$logs"), ("*e*", "$web"), ("*t", "$root"), ("*-*", "$web")]
)
def test_a_system_container_is_named_in_full(world: World, pattern: str, container: str) -> None:
    """A file was written to `$web`, a public web site, by a grant for `*web`: neither given nor shown by a pattern."""
    world.grant(containers=(pattern, "demo"))
    world.decide("demo")
    world.refused(container)
    shown = world.policy.visible(principal())
    assert shown.scopes(world.connector, ResourceId(container)) == []
    world.grant(containers=(pattern, container))
    world.decide(container)
    assert world.policy.visible(principal()).scopes(world.connector, ResourceId(container)) == ("",)


@pytest.mark.parametrize(
    ("resource", "allowed"),
    [
        ("az://demo/models", True),
        ("az://demo/models/", True),
        ("az://demo/models/a/b", True),
        ("az://demo/b/c", True),
        ("az://demo", False),
        ("az://demo/", False),
        ("az://demo/models-evil", False),
        ("az://demo/model", False),
        ("az://demo/Models", False),
        ("az://demo/x/models", False),
        ("az://demo/b", False),
    ],
)
def test_prefixes_end_at_segments(world: World, resource: str, *, allowed: bool) -> None:
    """A grant with prefixes never gives the whole container, nor a neighbour of the same beginning."""
    world.grant(prefixes=("models", "b/c"))
    if allowed:
        world.decide(resource)
    else:
        world.refused(resource)


def test_a_grant_without_prefixes_gives_paths_as_well(world: World) -> None:
    """Who may have the container may have a part of it."""
    world.grant()
    world.decide("az://demo/any/path")


@pytest.mark.parametrize(
    ("max_ttl", "expires", "asked", "given"),
    [
        (None, None, 900, 900),
        (600, None, 900, 600),
        (3600, None, 900, 900),
        (600, 100.5, 900, 100),
        (50, 100, 900, 50),
        (1, None, 900, 1),
    ],
)
def test_the_shortest_limit_counts(
    world: World, max_ttl: int | None, expires: float | None, asked: int, given: int
) -> None:
    """A token lives no longer than asked, than the grant lets it, or than the grant itself."""
    world.grant(max_ttl=max_ttl, expires=NOW + expires if expires else None)
    assert world.decide(ttl=asked).ttl == given


def test_an_ended_grant_allows_nothing(world: World) -> None:
    """The end is looked at on each decision, also one that was remembered."""
    world.grant(expires=NOW + 10)
    world.decide()
    world.clock.now += 9.5
    world.refused()
    assert world.refused("demo", "rw").metadata == {"resource": "az://demo"}


def test_of_several_grants_the_longest_then_the_first_by_name_counts(world: World) -> None:
    """Which grant stands in the ledger does not hang on the order in which they were made."""
    world.grant("zebra")
    world.grant("brief", max_ttl=60)
    assert world.decide().grant.name == "zebra"
    world.grant("alpha")
    assert world.decide().grant.name == "alpha"
    world.grant("alpha", max_ttl=899)
    assert world.decide().grant.name == "zebra"
    assert world.decide(ttl=30).grant.name == "alpha"


def test_addresses_of_the_grant_bind_the_token(world: World) -> None:
    """The grant's range goes into the token; a caller's own must lie inside it."""
    world.grant(source_ip="203.0.113.10-203.0.113.20")
    assert world.decide().source_ip == "203.0.113.10-203.0.113.20"
    for inner in ("203.0.113.10", "203.0.113.20", "203.0.113.12-203.0.113.20"):
        assert world.decide(source_ip=inner).source_ip == inner
    for outer in ("203.0.113.9", "203.0.113.21", "203.0.113.9-203.0.113.12", "0.0.0.0-255.255.255.255"):
        assert world.refused(source_ip=outer).metadata == {"resource": "az://demo", "source_ip": outer}
    world.grant("anywhere", max_ttl=60)
    assert world.decide(source_ip="198.51.100.1").grant.name == "anywhere"


def test_a_connector_made_anew_is_another(world: World) -> None:
    """A grant belongs to the connector it was given for, not to whoever takes its name."""
    world.grant()
    world.decide()
    world.memory.drop_connector(world.connector.name)
    world.refused()
    world.memory.put_connector(make_connector())
    world.refused()
    world.memory.put_connector(make_connector(uid=world.connector.uid))
    world.decide()


def test_only_granted_connectors_count(world: World) -> None:
    """Several connectors may serve a container; each needs its own yes, and a named one is the only one."""
    other = make_connector("other")
    world.memory.put_connector(other)
    world.grant()
    assert world.decide().connector is world.connector
    world.grant("both", world.connector, other, max_ttl=60)
    found = world.policy.decide(principal(), ResourceId.parse("demo"), READ, ttl=900)
    assert [(a.connector.name, a.grant.name, a.ttl) for a in found] == [
        ("azure-blob-demo", "training", 900),
        ("other", "both", 60),
    ]
    assert world.decide(connector="other").grant.name == "both"
    assert world.refused(connector="nope").metadata == {"resource": "az://demo", "connector": "nope"}


def test_a_connector_that_does_not_fit_stands_in_nobodys_way(world: World) -> None:
    """One made anew, one for another container and one in another cloud come first by name; the next one decides."""
    anew, other = make_connector("a-made-anew"), make_connector("b-single", "models", account="acc")
    abroad = make_connector("c-abroad", cloud="elsewhere")
    for each in (make_connector("a-made-anew"), other, abroad):
        world.memory.put_connector(each)
    world.grant("training", anew, other, abroad, world.connector)
    for each in (anew, other, abroad):
        world.grant(each.name, each)
    resource = "https://acc.blob.dev.invalid/demo"
    assert world.decide(resource, connector=world.connector.name).connector is world.connector
    world.memory.drop_connector(world.connector.name)
    world.memory.put_connector(last := make_connector("d-last"))
    world.grant("last", last)
    assert world.decide(resource).connector is last


def test_a_connector_of_one_type_serves_no_other(world: World) -> None:
    """A grant that names a thing of another type does not make it serve that; one of all types does."""
    shelves = replace(world.connector, resource_type="shelf")
    assert not serves(shelves, ResourceId("demo"))
    assert serves(replace(world.connector, resource_type=None), ResourceId("demo"))
    world.memory.put_connector(shelves)
    world.grant()
    world.refused()


def test_a_connector_whose_cloud_the_settings_lack_gives_nothing(world: World) -> None:
    """Nobody knows then where its tokens would be good: it is refused, and no host is told."""
    world.connector = make_connector("lost", cloud="lost")
    world.memory.put_connector(world.connector)
    world.grant()
    for resource in ("demo", "https://acc.blob.dev.invalid/demo"):
        assert "host" not in world.refused(resource).message
    world.grant("abroad", abroad := make_connector("abroad", cloud="elsewhere"))
    world.memory.put_connector(abroad)
    with pytest.raises(
        BrokerError, match=r"expected https://acc\.blob\.elsewhere\.invalid \(the cloud elsewhere\), or"
    ):
        world.decide("https://acc.blob.dev.invalid/demo")


def test_a_single_instance_connector_gives_its_own_container_only(world: World) -> None:
    """A grant for more than a connector serves does not make it serve more."""
    single = make_connector("single", "demo", account="demoaccount")
    world.memory.put_connector(single)
    world.grant("training", single, containers=("demo", "models"))
    world.decide("demo")
    world.decide("https://demoaccount.blob.dev.invalid/demo")
    world.refused("models")
    world.refused("https://otheraccount.blob.dev.invalid/demo")


@pytest.mark.parametrize(
    ("resource", "connector"),
    [("az://demo/other", ""), ("az://demo", ""), ("az://models/a", ""), ("az://demo/models", "other")],
)
def test_what_a_grant_lacks_is_told_only_where_all_else_fits(world: World, resource: str, connector: str) -> None:
    """Of grants for another path, container or connector a refusal says nothing, not even that there are some."""
    world.connector = make_connector("single", "demo", account="demoaccount")
    world.memory.put_connector(world.connector)
    world.memory.put_connector(make_connector("other"))
    world.grant(containers=("demo", "models"), prefixes=("models", "a"))
    told = world.refused("az://demo/models", "w", connector=connector if connector != "other" else "single")
    assert told.metadata["missing"] == "write"
    assert "missing" not in world.refused(resource, "w", connector=connector).metadata


def test_the_least_that_is_missing_is_told(world: World) -> None:
    """Of several grants the one that lacks least is the nearest to what was asked for."""
    world.grant("least", permissions="rwl")
    world.grant("most", permissions="r")
    assert world.refused("demo", "rwd").metadata["missing"] == "delete"


def test_refusals_do_not_tell_what_exists(world: World) -> None:
    """Forbidden and not there are told in the same words, for containers and for connectors."""
    world.grant("others", principals=("key:others",))
    there, not_there = world.refused("demo"), world.refused("nope")
    assert there.message.replace("demo", "nope") == not_there.message
    there, not_there = world.refused(connector="azure-blob-demo"), world.refused(connector="azure-blob-nope")
    assert there.message.replace("azure-blob-demo", "azure-blob-nope") == not_there.message
    assert set(there.metadata) == set(not_there.metadata)


def test_changes_count_at_once(world: World) -> None:
    """A grant that was made, narrowed or taken away is seen by the next decision, whatever was remembered."""
    world.refused()
    world.grant()
    world.decide()
    world.grant(permissions="l")
    world.refused()
    world.grant(principals=("key:*",))
    world.decide()
    world.memory.drop_grant("training")
    world.refused()
    assert not list(world.policy.index.all())
    assert not world.policy.index._places
    assert not world.policy.index._by_principal
    assert not list(world.policy.index._patterns.of("key:test"))


def test_what_is_remembered_stays_within_bounds(world: World) -> None:
    """Who asks for ever new containers, allowed or not, does not fill the memory."""
    world.grant(containers=("ml-*",))
    index = GrantIndex(world.memory, most_remembered=10)
    for number in range(50):
        assert index.routes(principal(), ResourceId(f"ml-{number}"), READ)
        assert not index.routes(principal(), ResourceId(f"xx-{number}"), READ)
        remembered = [key[2] for key in index._routes]
        assert 1 <= len(remembered) <= 10
        assert f"ml-{number}" in remembered
        assert all(str(each).startswith("ml-") for each in remembered)
    assert len(index._routes) == 10


def test_visible_connectors_and_scopes(world: World) -> None:
    """Lists show what grants let the caller use: connectors that are there, containers, paths."""
    other = make_connector("other")
    world.memory.put_connector(other)
    world.grant("a", containers=("models",), prefixes=("b", "a"))
    world.grant("ended", other, expires=NOW)
    world.grant("attributed", other, attributes={"team": "vision"})
    visible = world.policy.visible(principal())
    assert visible.connectors() == [world.connector]
    assert visible.scopes(world.connector, ResourceId("models")) == ["a", "b"]
    assert visible.scopes(world.connector, ResourceId("models", "a/x")) == ["a"]
    assert visible.scopes(world.connector, ResourceId("demo")) == []
    assert visible.scopes(other, ResourceId("models")) == []
    world.grant("whole", containers=("mod*",))
    assert world.policy.visible(principal()).scopes(world.connector, ResourceId("models")) == ("",)


def test_a_grant_for_two_connectors_shows_those_that_are_there(world: World) -> None:
    """One of them was made anew since: that one the grant is not for, and the other still is, in lists as by name."""
    gone, named = make_connector("a-other"), make_connector("elsewhere")
    world.memory.put_connector(make_connector("a-other"))
    world.memory.put_connector(named)
    world.grant("training", gone, world.connector)
    visible = world.policy.visible(principal())
    assert list(visible.connectors()) == list(visible.connectors(world.connector.name)) == [world.connector]
    for name in ("a-other", "elsewhere"):
        with pytest.raises(BrokerError, match="no grant lets key:test use a connector named"):
            visible.connectors(name)


@pytest.mark.parametrize("role", Role)
def test_who_sees_all_connectors(world: World, role: Role) -> None:
    """Those who tend them do, with all paths, and are told of a name that there is none; a role says nothing else."""
    visible = world.policy.visible(principal(role))
    if role in (Role.ADMIN, Role.OPERATOR, Role.VIEWER):
        assert list(visible.connectors()) == list(visible.connectors(world.connector.name)) == [world.connector]
        assert visible.scopes(world.connector, ResourceId("demo")) == ("",)
        expected = Reason.CONNECTOR_NOT_FOUND
    else:
        assert visible.connectors() == []
        assert visible.scopes(world.connector, ResourceId("demo")) == []
        expected = Reason.RESOURCE_DENIED
    with pytest.raises(BrokerError) as caught:
        visible.connectors("nosuch")
    assert caught.value.reason is expected


def test_a_stranger_sees_nothing_and_learns_nothing(world: World) -> None:
    """An empty list, and for a named connector the same words whether it is there or not."""
    visible = world.policy.visible(principal(name="key:stranger"))
    assert visible.connectors() == []
    errors = []
    for name in ("azure-blob-demo", "azure-blob-nope"):
        with pytest.raises(BrokerError) as caught:
            visible.connectors(name)
        errors.append(caught.value)
    assert [error.reason for error in errors] == [Reason.RESOURCE_DENIED] * 2
    assert errors[0].message.replace("demo", "nope") == errors[1].message


def test_a_slip_in_a_connectors_name(world: World) -> None:
    """Who may list connectors is told that there is none, not to make a grant for it; a stranger learns nothing."""
    told = [world.refused(caller=principal(role), connector="nosuch").message for role in (Role.ADMIN, Role.VIEWER)]
    assert all(message.startswith("no connector is named nosuch") for message in told)
    assert not any("grant create" in message for message in told)
    assert "grant create" in world.refused(caller=principal(Role.ADMIN), connector="azure-blob-demo").message
    strangers = [world.refused(connector=name).message for name in ("nosuch", "azure-blob-demo")]
    assert strangers[0].replace("nosuch", "azure-blob-demo") == strangers[1]


def test_a_grant_of_a_namesake_is_not_mixed_up_when_it_changes(world: World) -> None:
    """Replacing a grant takes the old one out of every place it lay in."""
    world.grant(principals=("key:a", "key:b*", "spiffe://x/*"), containers=("demo", "m*"), attributes={"t": "1"})
    before = world.memory.grants["training"]
    world.memory.put_grant(replace(before, principals=before.principals[:1], containers=before.containers[:1]))
    world.decide(caller=principal(name="key:a", attributes={"t": "1"}))
    world.refused(caller=principal(name="key:bb", attributes={"t": "1"}))
    world.refused("models", caller=principal(name="key:a", attributes={"t": "1"}))


@pytest.mark.parametrize(
    ("evidence", "within", "seconds"),
    [
        (Evidence.API_KEY, False, 120),
        (Evidence.API_KEY, True, 120),
        (Evidence.OIDC, False, 3600),
        (Evidence.OIDC, True, 120),
        (Evidence.MTLS, False, 3600),
        (Evidence.MTLS, True, 120),
    ],
)
def test_a_token_and_the_end_of_its_identity(world: World, evidence: Evidence, within: bool, seconds: int) -> None:
    """A token ends with the API key that it was given for; with a JWT or a certificate where the settings say so."""
    policy = Policy(world.memory, world.clock, ttl_within_identity=within)
    world.grant(max_ttl=3600)
    caller = Principal("key:test", frozenset(), evidence, NOW + 120.5)
    (allowed,) = policy.decide(caller, ResourceId("demo"), READ, ttl=12 * 3600)
    limit = TtlLimit.IDENTITY_END if seconds == 120 else TtlLimit.GRANT_MAX_TTL
    assert (allowed.ttl, allowed.limited_by) == (seconds, limit)
    assert allowed.ends == (NOW + 120.5 if seconds == 120 else float("inf"))
    (allowed,) = policy.decide(caller, ResourceId("demo"), READ, ttl=60)
    assert (allowed.ttl, allowed.limited_by) == (60, None)


def test_an_identity_that_ends_within_the_second(world: World) -> None:
    """No token of no life is made; the caller is told to come with another identity, not that it has no grant."""
    world.grant()
    caller = principal(expires=NOW + 0.5)
    with pytest.raises(BrokerError) as caught:
        world.decide(caller=caller)
    assert caught.value.reason is Reason.CREDENTIALS_EXPIRED
    assert world.decide(caller=principal(expires=NOW + 1)).ttl == 1


def test_what_limits_a_token_is_told(world: World) -> None:
    """`--ttl 2h` became 1 h without a word."""
    caller = principal(expires=NOW + 1e6)
    world.grant(max_ttl=3600, expires=NOW + 7200)
    assert world.decide(ttl=3600, caller=caller).limited_by is None
    assert world.decide(ttl=7200, caller=caller).limited_by is TtlLimit.GRANT_MAX_TTL
    world.grant(expires=NOW + 3600)
    assert world.decide(ttl=7200, caller=caller).limited_by is TtlLimit.GRANT_END


def test_a_host_of_another_cloud_is_named(world: World) -> None:
    """It was refused by naming the grant; what is wrong is the host, and what is right can be said."""
    world.grant()
    with pytest.raises(BrokerError) as caught:
        world.decide("https://acc.blob.core.windows.net/demo")
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND
    assert caught.value.message == (
        "no connector for az://demo is in a cloud whose host is https://acc.blob.core.windows.net; expected "
        "https://acc.blob.dev.invalid (the cloud dev), or az://demo alone"
    )
    # Who has no grant on the container hears nothing of hosts.
    world.refused("https://acc.blob.core.windows.net/models")
    world.grant("abroad", make := make_connector("abroad", cloud="elsewhere"))
    world.memory.put_connector(make)
    assert world.decide("https://acc.blob.elsewhere.invalid/demo").connector.name == "abroad"
    world.grant("abroad", make, world.connector)
    world.memory.drop_grant("training")
    assert world.refused("https://acc.blob.dev.invalid/demo", "rw").metadata["missing"] == "write"


def test_a_connector_for_one_account_serves_no_other(world: World) -> None:
    """Nothing is asked of Azure to find out what the connector itself says."""
    world.connector = make_connector(storage_account="acc")
    world.memory.put_connector(world.connector)
    world.grant()
    world.decide("https://acc.blob.dev.invalid/demo")
    world.refused("https://other.blob.dev.invalid/demo")


def test_an_admin_without_a_grant_is_told_how_to_make_one(world: World) -> None:
    """After `register` an admin's first token is refused: what is missing is `grant create`, for admins only."""
    admin = principal(Role.ADMIN, name="oidc:https://i.invalid#a'b")
    told = world.refused("$web", "rw", caller=admin, connector="azure-blob-demo").message
    assert told.endswith(
        "valetkey grant create NAME --principal 'oidc:https://i.invalid#a'\"'\"'b' --connector azure-blob-demo "
        "--container '$web' --permissions read,write"
    )
    for role in (Role.OPERATOR, Role.VIEWER, Role.AUDITOR):
        assert "grant create" not in world.refused(caller=principal(role)).message
    world.grant(permissions="r")
    assert "grant update" in world.refused("demo", "rw", caller=principal(Role.ADMIN)).message
    assert "grant update" not in world.refused("demo", "rw").message


def test_an_admin_is_told_of_the_path_too(world: World) -> None:
    """Whoever asked for a path is not led to a grant of the whole container."""
    message = world.refused("az://demo/models/a+b", caller=principal(Role.ADMIN)).message
    assert message.endswith("--container demo --prefix models/a+b --permissions read")
