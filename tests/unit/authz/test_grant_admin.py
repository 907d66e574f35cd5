"""GrantAdmin: what a grant may say, bound to the connectors that are there, changed only by who has read it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from support.core import NOW, FakeClock, Replica, make_connector
from support.fake_store import FakeStateStore
from valetkey_broker.authz.grant_admin import GrantAdmin, GrantDraft
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import (
    CONSUMER_PERMISSIONS,
    ConsumerRole,
    Grant,
    GrantedConnector,
    InvalidFieldError,
    Permission,
    PermissionSet,
)

MAX_TTL = 12 * 3600
GITHUB = "oidc:https://token.actions.githubusercontent.com"
VOUCHERS = {GITHUB, "oidc:https://k.invalid", "spiffe://ml.invalid"}
DRAFT = GrantDraft(
    name="training",
    principals=["key:trainer"],
    attributes={},
    connectors=[GrantedConnector("azure-blob-demo", "")],
    containers=["demo"],
    prefixes=[],
    permissions=[Permission.READ],
    consumer_role=None,
    max_ttl=None,
    source_ip="",
    expires_at=None,
    note="",
)


class World:
    def __init__(self, store: FakeStateStore | None = None) -> None:
        self.replica = Replica(store)
        self.clock = FakeClock()
        self.connector = make_connector()
        self.replica.memory.put_connector(self.connector)
        self.admin = GrantAdmin(self.replica.repository, self.replica.memory, self.clock, MAX_TTL, VOUCHERS)

    async def create(self, **fields: Any) -> Grant:
        return await self.admin.create(replace(DRAFT, **fields), created_by="key:admin")

    async def invalid(self, **fields: Any) -> InvalidFieldError:
        with pytest.raises(InvalidFieldError) as caught:
            await self.create(**fields)
        assert self.replica.store.calls["write"] == 0
        return caught.value


@pytest.fixture
def world() -> World:
    return World()


def as_draft(grant: Grant, **fields: Any) -> GrantDraft:
    """Returns a draft that says what a grant says, as a client that read it would send it back."""
    same = GrantDraft(
        name=grant.name,
        principals=[pattern.text for pattern in grant.principals],
        attributes={name: pattern.text for name, pattern in grant.attributes},
        connectors=grant.connectors,
        containers=[pattern.text for pattern in grant.containers],
        prefixes=grant.prefixes,
        permissions=grant.permissions.members,
        consumer_role=grant.consumer_role,
        max_ttl=grant.max_ttl,
        source_ip=grant.source_ip,
        expires_at=grant.expires_at,
        note=grant.note,
        version=grant.version,
    )
    return replace(same, **fields)


async def test_a_grant_is_bound_to_the_connector_of_the_moment(world: World) -> None:
    """The name is for people; the identity decides."""
    grant = await world.create()
    assert grant.connectors == (GrantedConnector("azure-blob-demo", world.connector.uid),)
    assert (grant.version, grant.created_by, grant.created_at.timestamp()) == (1, "key:admin", NOW)
    assert world.admin.get("training") == grant
    assert world.admin.all() == [grant]


@pytest.mark.parametrize("role", ConsumerRole)
async def test_ready_made_roles(world: World, role: ConsumerRole) -> None:
    """A role stands for its permissions and stays as a label; only those deletes whose name says so."""
    grant = await world.create(permissions=[], consumer_role=role)
    assert (grant.permissions, grant.consumer_role) == (CONSUMER_PERMISSIONS[role], role)
    assert (Permission.DELETE in grant.permissions.members) == role.value.endswith("-with-delete")


async def test_ready_made_roles_are_what_the_docs_say() -> None:
    """An orchestrator and a step operator read and write, and delete by choice; a deployer reads."""
    assert {role.value: permissions.sp for role, permissions in CONSUMER_PERMISSIONS.items()} == {
        "orchestrator": "racwl",
        "step-operator": "racwl",
        "deployer": "rl",
        "orchestrator-with-delete": "racwdl",
        "step-operator-with-delete": "racwdl",
    }


async def test_permissions_beside_a_role_must_be_its_own(world: World) -> None:
    """Both at once are taken only where they say the same, as a grant that was read does."""
    same = list(CONSUMER_PERMISSIONS[ConsumerRole.DEPLOYER].members)
    await world.create(permissions=same, consumer_role=ConsumerRole.DEPLOYER)
    other = World()
    error = await other.invalid(permissions=[Permission.DELETE], consumer_role=ConsumerRole.DEPLOYER)
    assert error.field == "permissions"


async def test_everything_that_may_be_said(world: World) -> None:
    """Each field is stored as given, addresses and paths in their canonical form."""
    ends = datetime.fromtimestamp(NOW + 60, UTC)
    grant = await world.create(
        principals=["key:*", "oidc:https://k.invalid#system:serviceaccount:ml:*", "spiffe://ml.invalid/ns/*/sa/x"],
        attributes={"namespace": "ml-*"},
        containers=["demo", "ml-*", "$web"],
        prefixes=["models/", "a/b"],
        permissions=[Permission.LIST, Permission.READ, Permission.READ],
        max_ttl=MAX_TTL,
        source_ip="203.0.113.1-203.0.113.9",
        expires_at=ends,
        note="wörds, plain",
    )
    assert grant.prefixes == ("models", "a/b")
    assert grant.permissions == PermissionSet([Permission.READ, Permission.LIST])
    assert (grant.max_ttl, grant.expires_at, grant.note) == (MAX_TTL, ends, "wörds, plain")


MANY = [f"x{number}" for number in range(101)]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", ["", "A", "a/b", "a" * 64, "-a", "a\n"]),
        ("principals", [[], ["key:a", "key:a"], [f"key:{name}" for name in MANY]]),
        (
            "principals",
            [
                [text]
                for text in (
                    *("", "*", "**", "key:**", "key:?", "key:[a]", 'key:"', "key:'", "key:a\n", "key:a b", "key:é"),
                    *(
                        "key:a ",
                        " key:a",
                        f"{GITHUB}#repo:a/b ",
                        f"{GITHUB}# a",
                        "oidc:https://a b#c",
                        "spiffe://a/b c",
                    ),
                    *(
                        "trainer",
                        "Key:a",
                        "key:",
                        "key:a/b",
                        "key:a:b",
                        "oidc:https://x",
                        "oidc:#",
                        "oidc:#sub",
                        "spiffe://x",
                    ),
                    *("oidc:*#sub", "oidc:https://*#sub", "spiffe://*/x", "spiffe://a*/x", "spiffe:///x", "a" * 513),
                )
            ],
        ),
        ("attributes", [{"": "x"}, {"a b": "x"}, {"a": ""}, {"a": "*"}, {"a": "x?"}, dict.fromkeys(MANY[:21], "x")]),
        (
            "containers",
            [
                [],
                *(
                    [text]
                    for text in (
                        "",
                        "*",
                        "**",
                        "A",
                        "Demo*",
                        "a/b",
                        "az://demo",
                        "de?o",
                        "d[e]mo",
                        "demo\n",
                        "-x",
                        "$*",
                        "$w*",
                    )
                ),
                ["demo", "demo"],
                MANY,
            ],
        ),
        (
            "prefixes",
            [
                *(
                    [text]
                    for text in ("", "/", "//", "/a", "a//b", "a/../b", "..", ".", "a/.", "%2e%2e", "%252F", "a%2Fb")
                ),
                *(
                    [text]
                    for text in ("a\n", "a b", "a*", "é", "e\u0301", "a\\b", "a?b", "a" * 1025, "/".join("a" * 255))
                ),
                ["a", "a"],
                ["a", "a/"],
                MANY,
            ],
        ),
        ("permissions", [[]]),
        ("max_ttl", [0, -1, MAX_TTL + 1]),
        ("source_ip", ["x", "203.0.113.9-203.0.113.1", "203.0.113.0/24", "::1"]),
        ("expire_time", [datetime.fromtimestamp(NOW, UTC), datetime.fromtimestamp(NOW - 1, UTC)]),
        ("note", ["a" * 501, "a\nb", "\x1b[31m", "a\u202eb"]),
        ("connectors", [[], [GrantedConnector("nope", "")], [GrantedConnector("azure-blob-demo", "other-uid")]]),
        ("connectors", [[GrantedConnector("A", "")], [GrantedConnector("azure-blob-demo", "")] * 2]),
    ],
)
async def test_what_a_grant_may_not_say(world: World, field: str, values: list[Any]) -> None:
    """Each is refused with its field's name, and nothing is written."""
    argument = {"expire_time": "expires_at"}.get(field, field)
    for value in values:
        error = await world.invalid(**{argument: value})
        assert error.field == field, value


async def test_update_keeps_identity_and_wants_the_version_that_was_read(world: World) -> None:
    """A change replaces what a grant says, never who it is; a change of an older state is refused."""
    created = await world.create()
    with pytest.raises(InvalidFieldError, match="version"):
        await world.admin.update(as_draft(created, version=0))
    updated = await world.admin.update(as_draft(created, note="new", permissions=[Permission.LIST]))
    assert (updated.uid, updated.created_at, updated.created_by) == (created.uid, created.created_at, "key:admin")
    assert (updated.version, updated.note, updated.permissions.sp) == (2, "new", "l")
    with pytest.raises(BrokerError) as caught:
        await world.admin.update(as_draft(created, note="late"))
    assert caught.value.reason is Reason.CONFLICT
    assert world.admin.get("training").note == "new"


async def test_update_through_a_replica_that_is_behind(world: World) -> None:
    """A replica that has not polled yet looks before it says no."""
    created = await world.create()
    other = World(world.replica.store)
    other.replica.memory.put_connector(world.connector)
    updated = await other.admin.update(as_draft(created, note="new"))
    assert (updated.uid, updated.note) == (created.uid, "new")


async def test_update_and_delete_of_what_is_not_there(world: World) -> None:
    """Both are told; a deleted grant does not come back by an update."""
    created = await world.create()
    await world.admin.delete("training", deleted_by="key:admin")
    for call in (world.admin.update(as_draft(created)), world.admin.delete("training", deleted_by="key:admin")):
        with pytest.raises(BrokerError) as caught:
            await call
        assert caught.value.reason is Reason.GRANT_NOT_FOUND
    with pytest.raises(BrokerError) as caught:
        world.admin.get("training")
    assert caught.value.reason is Reason.GRANT_NOT_FOUND


async def test_an_update_does_not_hand_a_new_connector_to_those_who_had_the_old_one(world: World) -> None:
    """A new note on an old grant must not let people use whatever took the connector's name meanwhile."""
    created = await world.create()
    again = make_connector()
    world.replica.memory.put_connector(again)
    kept = await world.admin.update(as_draft(created, note="new"))
    assert kept.connectors == created.connectors
    with pytest.raises(InvalidFieldError, match="another connector than the one") as caught:
        await world.admin.update(as_draft(kept, connectors=[GrantedConnector("azure-blob-demo", "")]))
    assert again.uid in caught.value.expected
    bound = await world.admin.update(as_draft(kept, connectors=[GrantedConnector("azure-blob-demo", again.uid)]))
    assert bound.connectors == (GrantedConnector("azure-blob-demo", again.uid),)


async def test_a_grant_that_has_ended_can_still_be_annotated(world: World) -> None:
    """The past is refused as a new end, not as one that was there."""
    created = await world.create(expires_at=datetime.fromtimestamp(NOW + 60, UTC))
    world.clock.now += 120
    updated = await world.admin.update(as_draft(created, note="ended"))
    assert updated.expires_at == created.expires_at
    with pytest.raises(InvalidFieldError, match="in the past"):
        await world.admin.update(as_draft(updated, expires_at=datetime.fromtimestamp(NOW + 61, UTC)))


async def test_a_taken_name_is_refused(world: World) -> None:
    """A second grant of one name changes nothing of the first."""
    created = await world.create()
    with pytest.raises(BrokerError) as caught:
        await world.create(containers=["models"])
    assert caught.value.reason is Reason.GRANT_EXISTS
    assert world.admin.get("training") == created


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"principals": [f"{GITHUB}#repo:*/*:ref:refs/heads/main"]}, ["strangers"]),
        ({"principals": [f"{GITHUB}#repo:*/*"], "attributes": {"repository": "a/b"}}, ["unless the attributes"]),
        ({"principals": [f"{GITHUB}#environment:prod"]}, ["strangers"]),
        ({"principals": [f"{GITHUB}#repo:ours/*:ref:refs/heads/main"]}, []),
        ({"principals": ["key:*"]}, ["all API keys"]),
        ({"principals": ["oidc:https://k.invalid#*"]}, ["all that oidc:https://k.invalid vouches for"]),
        ({"principals": ["oidc:https://k.invalid#system:serviceaccount:*:*"]}, []),
        ({"principals": ["oidc:https://k.invalid/#a", "spiffe://other/a"]}, ["k.invalid/;", "spiffe://other;"]),
        ({"prefixes": ["models"]}, []),
        ({"prefixes": ["models"], "permissions": [Permission.LIST]}, ["single blobs know nothing of"]),
        ({"permissions": [Permission.MOVE, Permission.EXECUTE]}, ["no token is for a whole container"]),
        ({"containers": ["models"]}, []),
        ({"principals": [f"{GITHUB}#repo:ours@12/models@34:environment:Prod East"]}, []),
        ({"attributes": {"environment": "Prod East", "team": "a *"}}, []),
        ({"prefixes": ["a" * 1024, "/".join("a" * 254)]}, []),
    ],
    ids=str,
)
async def test_what_is_told_of_a_valid_grant(world: World, fields: dict[str, Any], told: list[str]) -> None:
    """A grant that strangers could use, or that nobody can, is stored as asked, and not without a word."""
    warnings = await world.admin.warnings(await world.create(**fields))
    assert len(warnings) == len(told), warnings
    for warning, part in zip(warnings, told, strict=True):
        assert part in warning


async def test_a_grant_whose_connectors_serve_something_else(world: World) -> None:
    """A single-instance connector and another container make a grant of nothing; so do an end and a deletion."""
    world.replica.memory.put_connector(make_connector("azure-blob-demo", "models", account="acc"))
    grant = await world.create(expires_at=datetime.fromtimestamp(NOW + 60, UTC))
    assert await world.admin.warnings(grant) == [
        "its connectors serve az://models, none of its containers: it lets nobody have anything"
    ]
    world.replica.memory.drop_connector("azure-blob-demo")
    world.clock.now += 60
    assert await world.admin.warnings(grant) == [
        "its connectors are gone: it lets nobody have anything",
        "the grant has ended: it lets nobody have anything",
    ]
