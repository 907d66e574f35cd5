"""Issuer: who may not gets nothing and costs nothing; what is signed is what was authorised; no record, no token."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from support.core import (
    NOW,
    PLANTED,
    PROFILE,
    PROFILES,
    FakeClock,
    Replica,
    call_info,
    make_api_key,
    make_connector,
    make_grant,
    no_news,
    principal,
)
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger, ledger_down
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.authn.api_key_verifier import ApiKeyVerifier
from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.authz.policy import Policy
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.issuing.connector_choice import ConnectorChooser
from valetkey_broker.issuing.decider import Decider
from valetkey_broker.issuing.issuer import Issuer
from valetkey_broker.issuing.scope_choice import Scopes
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.model import (
    Event,
    EventKind,
    InvalidFieldError,
    Lease,
    Permission,
    PermissionSet,
    Principal,
    ResourceId,
    Role,
    Secret,
    SigningKey,
    Standing,
)
from valetkey_broker.model.revocation import Revocation, RevocationTarget
from valetkey_broker.settings import IssuingSettings

_CONSUMER = principal(name="key:trainer", expires=NOW + 100_000)
_READ_LIST = PermissionSet([Permission.READ, Permission.LIST])


class Issuing:
    """An issuer with everything below it, on fakes. `key:trainer` is granted azure-blob-demo; there is `other` too."""

    def __init__(self, *, cloud: FakeCloud | None = None) -> None:
        self.standing: Callable[[Principal], Standing] = lambda _caller: Standing.GOOD
        self.catch_up = no_news
        self.clock = FakeClock()
        self.replica = Replica()
        self.cloud = cloud or FakeCloud({"acc": ["demo", "models"]}, profile=PROFILE)
        self.ledger = FakeLedger()
        self.policy = Policy(self.replica.memory, self.clock)
        credential = self.replica.repository.credential
        self.keys = SigningKeys(
            questions=CloudClient(self.cloud, credential, 1),
            clock=self.clock,
            key_seconds=24 * 3600,
            skew_seconds=900,
            auth_methods=AUTH_METHODS,
        )
        self.reach = ReachCache(CloudClient(self.cloud, credential, 1), self.clock, 300)
        decider = Decider(
            memory=self.replica.memory,
            policy=self.policy,
            chooser=ConnectorChooser(PROFILES, self.reach),
            scopes=Scopes(self.reach, self.keys),
            keys=self.keys,
            clock=self.clock,
            settings=IssuingSettings(),
            standing=self._standing_now,
            catch_up=self._catch_up_now,
        )
        self.issuer = Issuer(
            decider=decider,
            cloud=self.cloud,
            ledger=self.ledger,
            clock=self.clock,
            skew_seconds=IssuingSettings().clock_skew_seconds,
        )

    async def _catch_up_now(self) -> None:
        await self.catch_up()

    def _standing_now(self, caller: Principal) -> Standing:
        return self.standing(caller)

    async def seed(self) -> None:
        for name in ("azure-blob-demo", "other"):
            await self.replica.repository.create_connector(
                make_connector(name, version=0), ClientSecret(Secret(PLANTED))
            )
        self.grant()
        self.replica.store.calls.clear()

    def grant(self, name: str = "training", connector: str = "azure-blob-demo", **fields: Any) -> None:
        known = self.replica.memory.connectors[connector]
        self.replica.memory.put_grant(make_grant(name, known, **{"principals": ("key:trainer",), **fields}))

    async def issue(self, caller: Principal = _CONSUMER, **values: Any) -> Lease:
        asked: dict[str, Any] = {"resource_id": "az://demo", "permissions": _READ_LIST, **values}
        return await self.issuer.issue(call_info(caller), TokenRequest.parse(**asked))

    async def issue_many(self, *resource_ids: str, caller: Principal = _CONSUMER) -> list[str]:
        """Asks for a token for each id; those that are equal are one request. Tells of each its id, or the reason."""
        asked = {each: TokenRequest.parse(each, _READ_LIST) for each in resource_ids}
        outcomes = await self.issuer.issue_many(call_info(caller), [asked[each] for each in resource_ids])
        return [
            each.id if isinstance(each, Lease) else each.reason.name if isinstance(each, BrokerError) else repr(each)
            for each in outcomes
        ]

    def assert_untouched(self) -> None:
        assert not self.cloud.calls
        assert not self.replica.store.calls
        assert not self.ledger.recorded


@pytest_asyncio.fixture
async def issuing() -> AsyncIterator[Issuing]:
    """Two multi-instance connectors, nothing asked of the cloud yet."""
    issuing = Issuing()
    await issuing.seed()
    yield issuing
    await issuing.keys.close()
    await issuing.reach.close()


async def test_a_token_says_what_was_asked(issuing: Issuing) -> None:
    """The signed fields, the lease and the record agree."""
    lease = await issuing.issue(ttl=1800, source_ip="203.0.113.1-203.0.113.9", connector="azure-blob-demo")
    signed = {name: values[0] for name, values in parse_qs(lease.sas_token).items()}
    assert (signed["container"], signed["account"], signed["sp"], signed["spr"]) == ("demo", "acc", "rl", "https")
    assert signed["sip"] == "203.0.113.1-203.0.113.9"
    (request,) = issuing.cloud.signed
    assert (request.starts, request.expires) == (NOW - 900, NOW + 1800) == (lease.starts, lease.expires)
    assert (request.permissions, request.profile) == (lease.permissions, PROFILE)
    assert issuing.cloud.signed_ids == [lease.id]
    assert (lease.principal, lease.connector, lease.credential_version) == ("key:trainer", "azure-blob-demo", 1)
    assert (lease.scope.account, lease.scope.container, lease.scope.url) == (
        "acc",
        "demo",
        "https://acc.blob.dev.invalid/demo",
    )
    assert lease.grant == "training"
    (event,) = issuing.ledger.recorded
    assert (event.kind, event.lease_id, event.expires) == (EventKind.TOKEN_ISSUED, lease.id, lease.expires)


async def test_a_warm_issuer_asks_nobody(issuing: Issuing) -> None:
    """The second token costs no call to Azure or Vault, and has an id of its own."""
    first = await issuing.issue()
    issuing.cloud.calls.clear()
    issuing.replica.store.calls.clear()
    second = await issuing.issue()
    assert issuing.cloud.calls == {"sign": 1}
    assert not issuing.replica.store.calls
    assert first.id != second.id


async def test_a_grant_that_was_made_elsewhere_a_moment_ago(issuing: Issuing) -> None:
    """Before anything is refused, memory catches up, once: another replica may have allowed it since the last poll."""
    looks = 0

    async def catch_up() -> None:
        nonlocal looks
        looks += 1
        issuing.grant("other", "other", principals=("key:new",))

    issuing.catch_up = catch_up
    new = principal(name="key:new", expires=NOW + 100_000)
    assert (await issuing.issue(new)).grant == "other"
    assert await issuing.issue_many("az://demo", "az://demo", caller=new)
    assert looks == 1, "what is allowed waits for nobody"
    with pytest.raises(BrokerError) as caught:
        await issuing.issue(principal(name="key:stranger", expires=NOW + 100_000))
    assert (caught.value.reason, looks) == (Reason.RESOURCE_DENIED, 2)


async def test_a_credential_that_another_has_replaced(issuing: Issuing) -> None:
    """Vault keeps two; who has heard of neither change looks for one that is gone, and then for the one in use."""
    other = Replica(issuing.replica.store)
    for replica in (issuing.replica, other):
        await replica.repository.load()
    issuing.grant()
    for _ in range(2):
        connector = other.memory.connectors["azure-blob-demo"]
        await other.repository.update_connector(connector, ClientSecret(Secret(PLANTED)))
    issuing.replica.repository._credentials.forget(issuing.replica.memory.connectors["azure-blob-demo"].uid)
    with pytest.raises(BrokerError) as caught:
        await issuing.issue()
    assert caught.value.reason is Reason.CONFLICT, "without catching up"
    issuing.catch_up = issuing.replica.repository.catching_up.in_bounds
    assert (await issuing.issue()).credential_version == 3


async def test_without_a_source_address_none_is_signed(issuing: Issuing) -> None:
    """An empty field binds the token to nothing, rather than to an empty address."""
    await issuing.issue()
    assert issuing.cloud.signed[0].source_ip == ""


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"resource_id": ""}, "resource_id"),
        ({"resource_id": "az://UPPER"}, "resource_id"),
        ({"resource_id": "az://demo/../models"}, "resource_id"),
        ({"resource_id": "demo\n"}, "resource_id"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": -1}, "ttl"),
        ({"ttl": 2**63}, "ttl"),
        ({"ttl": -(2**63)}, "ttl"),
        ({"ttl": 12 * 3600 + 1}, "ttl"),
        ({"source_ip": "::1"}, "source_ip"),
        ({"source_ip": "203.0.113.7\n"}, "source_ip"),
        ({"connector": "../x"}, "connector"),
        ({"purpose": "a" * 201}, "purpose"),
        ({"purpose": "two\nlines"}, "purpose"),
        ({"purpose": "\x1b[31mred"}, "purpose"),
        ({"purpose": "right\u202eleft"}, "purpose"),
    ],
)
async def test_malformed_requests_cost_nothing(issuing: Issuing, values: dict[str, Any], field: str) -> None:
    """The field is named; neither cloud nor store nor ledger hears of it."""
    with pytest.raises(InvalidFieldError) as caught:
        await issuing.issue(**values)
    assert caught.value.field == field
    issuing.assert_untouched()


@pytest.mark.parametrize("ttl", [1, 60, 12 * 3600])
async def test_the_ttl_is_what_was_asked_within_the_limit(issuing: Issuing, ttl: int) -> None:
    """Both edges are inside."""
    assert (await issuing.issue(ttl=ttl)).expires == NOW + ttl


async def test_the_default_ttl_is_a_quarter_of_an_hour(issuing: Issuing) -> None:
    """Who does not say gets a short token."""
    assert (await issuing.issue()).expires == NOW + 900


@pytest.mark.parametrize(
    ("caller", "values"),
    [
        (_CONSUMER, {"connector": "other"}),
        (_CONSUMER, {"connector": "nowhere"}),
        (_CONSUMER, {"resource_id": "az://models"}),
        (_CONSUMER, {"resource_id": "az://secret"}),
        (_CONSUMER, {"permissions": PermissionSet([Permission.READ, Permission.DELETE])}),
        (principal(name="key:train"), {}),
        (principal(name="key:trainer2"), {}),
        (principal(Role.ADMIN), {}),
        (principal(Role.OPERATOR), {}),
        (principal(Role.VIEWER), {"connector": "azure-blob-demo"}),
    ],
)
async def test_who_may_not_costs_nothing(issuing: Issuing, caller: Principal, values: dict[str, Any]) -> None:
    """Nothing is asked of Azure or Vault for a caller who is not allowed."""
    with pytest.raises(BrokerError) as caught:
        await issuing.issue(caller, **values)
    assert caught.value.reason is Reason.RESOURCE_DENIED
    issuing.assert_untouched()


async def test_a_refused_prefix_of_a_stranger_costs_nothing_either(issuing: Issuing) -> None:
    """Whether a path could be served is nobody's business who may not use the container."""
    with pytest.raises(BrokerError) as caught:
        await issuing.issue(principal(), resource_id="az://demo/path")
    assert caught.value.reason is Reason.RESOURCE_DENIED
    issuing.assert_untouched()


@pytest.mark.parametrize("resource_id", ["az://demo/a/", "az://demo/a/b/", "https://acc.blob.dev.invalid/demo/a/"])
async def test_a_prefix_is_refused_and_nothing_wider_is_signed(issuing: Issuing, resource_id: str) -> None:
    """On a flat account a token for a path would be one for the container: it is refused instead."""
    with pytest.raises(BrokerError, match="nothing wider is given") as caught:
        await issuing.issue(resource_id=resource_id)
    assert caught.value.reason is Reason.SCOPE_UNSUPPORTED
    assert not issuing.cloud.signed
    assert not issuing.ledger.recorded


@pytest.mark.parametrize("permission", [Permission.MOVE, Permission.EXECUTE])
async def test_what_only_paths_can_have_is_not_signed_for_a_container(issuing: Issuing, permission: Permission) -> None:
    """Storage would refuse such a token, or take it for something else; for a directory it is signed."""
    issuing.grant(permissions="rlme")
    issuing.cloud.with_directories = issuing.cloud.left_out_of_search = {"acc"}
    asked = PermissionSet([Permission.READ, permission])
    with pytest.raises(BrokerError, match="is given for a directory or a blob") as caught:
        await issuing.issue(permissions=asked)
    assert caught.value.reason is Reason.SCOPE_UNSUPPORTED
    assert not issuing.cloud.signed
    assert (await issuing.issue(resource_id="az://demo/a/", permissions=asked)).permissions == asked


async def test_the_kind_of_an_account_is_asked_once(issuing: Issuing) -> None:
    """It is learnt and remembered, not guessed: a directory is signed where there are some, and a blob asks nobody."""
    issuing.cloud.with_directories = issuing.cloud.left_out_of_search = {"acc"}
    await issuing.issue(resource_id="az://demo/a", permissions=PermissionSet([Permission.READ]))
    assert issuing.cloud.calls["hierarchical"] == 0
    for _ in range(3):
        lease = await issuing.issue(resource_id="az://demo/a/")
        assert lease.scope.resource_id == "az://demo/a/"
    assert issuing.cloud.calls["hierarchical"] == 1


async def test_the_kind_that_resource_manager_tells_is_not_asked_again(issuing: Issuing) -> None:
    """Whoever searches for accounts learns it on the way, of flat ones and of others."""
    await issuing.issue()
    with pytest.raises(BrokerError, match="needs an account with hierarchical namespace, which acc is not"):
        await issuing.issue(resource_id="az://demo/a/")
    assert issuing.cloud.calls["hierarchical"] == 0
    # An account may be given a hierarchical namespace, once and for good: soon it is looked at again.
    issuing.cloud.with_directories = {"acc"}
    issuing.clock.now += 301
    assert (await issuing.issue(resource_id="az://demo/a/")).scope.resource_id == "az://demo/a/"


async def test_an_account_that_does_not_say_gets_no_directory(issuing: Issuing) -> None:
    """Where nobody knows, nothing is signed on a guess, and blobs go on."""
    issuing.cloud.silent = {"acc"}
    with pytest.raises(BrokerError, match="does not say") as caught:
        await issuing.issue(resource_id="az://demo/a/")
    assert caught.value.reason is Reason.CLOUD_REQUEST_REFUSED
    assert not issuing.cloud.signed
    await issuing.issue(resource_id="az://demo/a", permissions=PermissionSet([Permission.READ]))


async def test_an_unrecorded_token_does_not_leave(issuing: Issuing) -> None:
    """The ledger failing is the caller's error; the token stays inside, and the error does not hold it."""
    issuing.ledger.fail_with = ledger_down()
    with pytest.raises(BrokerError, match="ledger cannot be written") as caught:
        await issuing.issue()
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
    assert "sig=" not in str(caught.value) + repr(caught.value.metadata)


@pytest.mark.parametrize("call", ["list_containers", "signing_key", "sign"])
async def test_a_failing_cloud_leaves_no_record(issuing: Issuing, call: Any) -> None:
    """What was not issued does not stand in the ledger."""
    issuing.cloud.fail(call, Reason.CLOUD_UNAVAILABLE)
    with pytest.raises(BrokerError) as caught:
        await issuing.issue()
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE
    assert not issuing.ledger.recorded


async def test_a_token_never_outlives_its_key(issuing: Issuing) -> None:
    """With Azure away and a key that ends early, the token ends with it."""
    await issuing.issue()
    (key,) = issuing.cloud.keys
    issuing.cloud.fail("signing_key", Reason.CLOUD_UNAVAILABLE)
    issuing.clock.now = key.expires - 300
    with capture_logs():
        lease = await issuing.issue(ttl=3600)
    assert lease.expires == key.expires
    assert issuing.cloud.signed[-1].key is key


async def test_a_key_that_ends_too_early_for_a_token_is_not_taken(issuing: Issuing) -> None:
    """With Azure there, a longer token is not cut short by the key that is at hand."""
    await issuing.issue()
    (key,) = issuing.cloud.keys
    issuing.clock.now = key.expires - 1800
    lease = await issuing.issue(ttl=3600)
    assert lease.expires == key.expires + 1800
    assert issuing.cloud.signed[-1].key is not key


async def test_a_token_does_not_begin_before_its_key() -> None:
    """Azure refuses a SAS that starts ahead of the key that signed it."""
    issuing = Issuing()
    await issuing.seed()
    for passed in (0.0, 0.25, 0.999, 7.5):
        issuing.clock.now = NOW + passed
        lease = await issuing.issue()
        (key,) = issuing.cloud.keys
        assert key.starts <= lease.starts <= issuing.clock.now - 899
    await issuing.keys.close()
    await issuing.reach.close()


class LateKeyCloud(FakeCloud):
    """A cloud whose keys begin ten and a half seconds ago, whatever was asked."""

    async def signing_key(self, *args: Any, starts: float, expires: float) -> SigningKey:
        key = await super().signing_key(*args, starts=starts, expires=expires)
        return replace(key, starts=NOW - 10.5)


async def test_a_key_that_begins_late_makes_a_token_that_begins_late() -> None:
    """The key's start wins over the backdating, rounded to the second inside of it."""
    issuing = Issuing(cloud=LateKeyCloud({"acc": ["demo"]}, profile=PROFILE))
    await issuing.seed()
    assert (await issuing.issue()).starts == NOW - 10
    await issuing.keys.close()
    await issuing.reach.close()


async def test_a_deleted_connector_issues_nothing(issuing: Issuing) -> None:
    """From the deletion on the connector's callers are refused."""
    await issuing.issue()
    await issuing.replica.repository.delete_connector("azure-blob-demo", "key:ops")
    with pytest.raises(BrokerError) as caught:
        await issuing.issue()
    assert caught.value.reason is Reason.RESOURCE_DENIED


async def test_the_record_says_who_got_what_by_which_grant_and_holds_no_token(issuing: Issuing) -> None:
    """What an auditor needs is in it, the signature only as its hash."""
    lease = await issuing.issue(purpose="night training, run 7")
    (event,) = issuing.ledger.recorded
    signature = parse_qs(lease.sas_token)["sig"][0]
    assert event == Event(
        kind=EventKind.TOKEN_ISSUED,
        time=NOW,
        request_id="request-1",
        method="/valetkey.v1.TokenService/IssueToken",
        principal="key:trainer",
        authentication="api-key",
        peer="203.0.113.200",
        connector="azure-blob-demo",
        connector_uid=issuing.replica.memory.connectors["azure-blob-demo"].uid,
        credential_version=1,
        resource="https://acc.blob.dev.invalid/demo",
        permissions="rl",
        ttl=900,
        expires=int(NOW) + 900,
        lease_id=lease.id,
        signature_sha256=hashlib.sha256(signature.encode()).hexdigest(),
        grant="training",
        purpose="night training, run 7",
    )
    assert signature not in repr(event)


async def test_the_record_is_made_before_the_token_leaves(issuing: Issuing) -> None:
    """Signed first, recorded second, answered last."""
    seen: list[int] = []
    issuing.ledger.before_record = lambda _event: seen.append(issuing.cloud.calls["sign"])
    await issuing.issue()
    assert seen == [1]


async def test_the_grant_shortens_and_binds_the_token(issuing: Issuing) -> None:
    """Its ttl, its end and its addresses are those of the token."""
    issuing.grant(max_ttl=60, source_ip="203.0.113.1-203.0.113.9")
    assert (await issuing.issue(ttl=600)).expires == NOW + 60
    assert issuing.cloud.signed[-1].source_ip == "203.0.113.1-203.0.113.9"
    await issuing.issue(source_ip="203.0.113.5")
    assert issuing.cloud.signed[-1].source_ip == "203.0.113.5"
    issuing.grant(expires=NOW + 30)
    assert (await issuing.issue(ttl=600)).expires == NOW + 30


async def test_the_grant_of_the_connector_that_is_chosen_counts(issuing: Issuing) -> None:
    """Two ways lead to the container; what another one's grant would allow is not given by this one."""
    single = make_connector("single", "demo", account="acc", version=0)
    await issuing.replica.repository.create_connector(single, ClientSecret(Secret(PLANTED)))
    issuing.grant("brief", "single", max_ttl=60, source_ip="203.0.113.1")
    lease = await issuing.issue(source_ip="203.0.113.1")
    assert (lease.connector, lease.grant, lease.expires) == ("single", "brief", NOW + 60)
    assert issuing.ledger.recorded[-1].grant == "brief"


async def test_where_a_revoked_account_is_found_no_token_is_signed(issuing: Issuing) -> None:
    """`az://demo` may be in any account: which one it is in, is known only when Azure was asked."""
    for account in ("other", "acc"):
        issuing.replica.memory.put_revocation(
            Revocation(
                name=f"r-{account}",
                target=RevocationTarget(resource=ResourceId("demo", account=account)),
                reason="",
                hard=False,
                created_at=datetime.fromtimestamp(NOW, UTC),
                created_by="key:ops",
            )
        )
        if account == "other":
            await issuing.issue()
    issuing.cloud.signed.clear()
    with pytest.raises(BrokerError, match="they know it as revocation r-acc") as caught:
        await issuing.issue()
    assert caught.value.reason is Reason.ACCESS_REVOKED
    assert not issuing.cloud.signed


@pytest.mark.parametrize("held", ["list_containers", "signing_key"])
async def test_a_grant_taken_away_while_azure_is_asked_gives_nothing(issuing: Issuing, held: Any) -> None:
    """Asking takes seconds: what holds is what the grants say when the token is signed."""
    gate = issuing.cloud.hold(held)
    asking = asyncio.create_task(issuing.issue())
    while not issuing.cloud.calls[held]:  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(0)
    issuing.replica.memory.drop_grant("training")
    gate.set()
    with pytest.raises(BrokerError) as caught:
        await asking
    assert caught.value.reason is Reason.RESOURCE_DENIED
    assert not issuing.cloud.signed
    assert not issuing.ledger.recorded


async def test_a_grant_that_ends_while_azure_is_asked_gives_nothing(issuing: Issuing) -> None:
    """A token never begins its life after its grant has ended."""
    issuing.grant(expires=NOW + 30)
    gate = issuing.cloud.hold("signing_key")
    asking = asyncio.create_task(issuing.issue())
    while not issuing.cloud.calls["signing_key"]:  # noqa: ASYNC110
        await asyncio.sleep(0)
    issuing.clock.now += 31
    gate.set()
    with pytest.raises(BrokerError) as caught:
        await asking
    assert caught.value.reason is Reason.RESOURCE_DENIED
    assert not issuing.cloud.signed


async def test_only_granted_connectors_are_asked(issuing: Issuing) -> None:
    """Of two connectors that might serve a container, the one without a grant is not even looked at."""
    asked: list[str] = []
    find = issuing.cloud.list_containers

    async def noting(connector: Any, credential: Any, account: Any) -> Any:
        asked.append(connector.name)
        return await find(connector, credential, account)

    issuing.cloud.list_containers = noting  # type: ignore[method-assign]
    await issuing.issue()
    assert asked == ["azure-blob-demo"]


async def _issued_around(issuing: Issuing, caller: Principal, meanwhile: Callable[[], None]) -> Reason:
    """Returns why there was no token, where `meanwhile` happened as Azure was being asked for a key."""
    gate = issuing.cloud.hold("signing_key")
    asking = asyncio.create_task(issuing.issue(caller))
    while not issuing.cloud.calls["signing_key"]:  # noqa: ASYNC110
        await asyncio.sleep(0)
    meanwhile()
    await asyncio.sleep(0.002)
    gate.set()
    with pytest.raises(BrokerError) as caught:
        await asking
    assert not issuing.cloud.signed
    assert not issuing.ledger.recorded
    return caught.value.reason


async def test_an_identity_revoked_while_azure_is_asked_gives_nothing(issuing: Issuing) -> None:
    """Who could not call any more when the token is signed does not get it, though no grant changed."""
    revoked: set[str] = set()
    issuing.standing = lambda caller: Standing.ENDED if caller.name in revoked else Standing.GOOD
    assert await _issued_around(issuing, _CONSUMER, lambda: revoked.add("key:trainer")) is Reason.CREDENTIALS_INVALID


async def test_an_issuer_gone_while_azure_is_asked_gives_nothing(issuing: Issuing) -> None:
    """Of whom nothing can be told any more gets no token, and hears to come back, not that anything was revoked."""
    lost: list[Standing] = []
    issuing.standing = lambda _caller: lost[0] if lost else Standing.GOOD
    why = await _issued_around(issuing, _CONSUMER, lambda: lost.append(Standing.UNKNOWN))
    assert why is Reason.ISSUER_UNAVAILABLE


async def test_a_key_revoked_while_azure_is_asked_gives_nothing(issuing: Issuing) -> None:
    """The very key counts: with its name gone from memory, as the real verifier sees it, there is no token."""
    memory = issuing.replica.memory
    memory.put_api_key(make_api_key())
    verifier = ApiKeyVerifier(memory, issuing.clock, RoleBindings())
    caller = verifier.verify("vk_" + "T" * 43)
    issuing.standing = lambda each: Standing.GOOD if verifier.still_valid(each) else Standing.ENDED
    why = await _issued_around(issuing, caller, lambda: memory.drop_api_key("trainer"))
    assert why is Reason.CREDENTIALS_INVALID


async def test_an_identity_that_ends_while_azure_is_asked_gives_nothing(issuing: Issuing) -> None:
    """A token is never signed for a caller whose time is over."""
    caller = principal(name="key:trainer", expires=NOW + 10)

    def later() -> None:
        issuing.clock.now += 10

    assert await _issued_around(issuing, caller, later) is Reason.CREDENTIALS_EXPIRED


async def test_a_change_of_another_key_does_no_harm(issuing: Issuing) -> None:
    """A change of a key, as in a busy broker, has the caller looked at again; the token comes all the same."""
    asked: list[str] = []

    def standing(caller: Principal) -> Standing:
        asked.append(caller.name)
        return Standing.GOOD

    issuing.standing = standing
    gate = issuing.cloud.hold("signing_key")
    asking = asyncio.create_task(issuing.issue())
    await asyncio.sleep(0.002)
    issuing.replica.memory.put_api_key(make_api_key(name="other"))
    gate.set()
    await asking
    assert asked[:1] == ["key:trainer"]


async def test_equal_requests_are_decided_once_and_each_token_is_its_own(
    issuing: Issuing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many alike one decision holds for all; leases, signatures and records are one for each, written together."""
    decided: list[ResourceId] = []
    decide, record, together = issuing.policy.decide, issuing.ledger.record, []

    def counted(caller: Principal, resource: ResourceId, *rest: Any, **more: Any) -> Any:
        decided.append(resource)
        return decide(caller, resource, *rest, **more)

    async def noted(*events: Event) -> None:
        together.append([event.lease_id for event in events])
        await record(*events)

    monkeypatch.setattr(issuing.policy, "decide", counted)
    monkeypatch.setattr(issuing.ledger, "record", noted)
    told = await issuing.issue_many(*["az://demo"] * 100, "az://secret", *["az://demo"] * 100, "az://demo/a/")
    assert [told[100], told[-1]] == ["RESOURCE_DENIED", "SCOPE_UNSUPPORTED"]
    leases = told[:100] + told[101:-1]
    assert len(set(leases)) == 200
    assert together == [leases]
    assert len({event.signature_sha256 for event in issuing.ledger.recorded}) == 200
    assert len(decided) == 3


async def test_many_are_decided_again_where_a_grant_goes_meanwhile(issuing: Issuing) -> None:
    """Signing many takes a while, in which others get their turn: what is recorded holds after it."""
    await issuing.issue()
    asking = asyncio.create_task(issuing.issue_many(*["az://demo"] * 1000))
    while len(issuing.cloud.signed) == 1:  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(0)
    assert len(issuing.cloud.signed) < 1000, "others get no turn"
    issuing.replica.memory.drop_grant("training")
    assert set(await asking) == {"RESOURCE_DENIED"}
    assert len(issuing.ledger.recorded) == 1


async def test_an_identity_that_ends_while_many_are_signed_gets_none(issuing: Issuing) -> None:
    """What was revoked meanwhile is refused as a whole, and nothing is on record as issued."""
    asking = asyncio.create_task(issuing.issue_many(*["az://demo"] * 1000))
    while not issuing.cloud.signed:  # noqa: ASYNC110
        await asyncio.sleep(0)
    issuing.standing = lambda _caller: Standing.ENDED
    issuing.grant(max_ttl=60)
    with pytest.raises(BrokerError) as caught:
        await asking
    assert caught.value.reason is Reason.CREDENTIALS_INVALID
    assert not issuing.ledger.recorded


async def test_none_of_many_leaves_unrecorded(issuing: Issuing) -> None:
    """Where the ledger fails each token's place says so, and what was refused stays refused for its own reason."""
    issuing.ledger.fail_with = ledger_down()
    told = await issuing.issue_many("az://demo", "az://secret", "az://demo")
    assert told == ["LEDGER_UNAVAILABLE", "RESOURCE_DENIED", "LEDGER_UNAVAILABLE"]


class Unrest:
    """Has a key that nobody means come or go at every so many-th call of what it is put around, `most` times at most.

    The bound is for an issuer that cannot cope: it comes to an end with too many signatures, and does not hang.
    """

    def __init__(self, issuing: Issuing, every: int, most: int = 60) -> None:
        self._memory = issuing.replica.memory
        self._every = every
        self._most = most
        self.calls = 0
        self.changes = 0

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def restless(*args: Any, **more: Any) -> Any:
            self.calls += 1
            if self.calls % self._every == 0 and self.changes < self._most:
                self.changes += 1
                self._memory.put_api_key(make_api_key(name=f"other-{self.changes}"))
            return work(*args, **more)

        return restless


def _different(number: int) -> list[TokenRequest]:
    return [TokenRequest.parse("az://demo", _READ_LIST, purpose=f"p{n}") for n in range(number)]


def _batches_of_records(issuing: Issuing, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    record, together = issuing.ledger.record, []

    async def noted(*events: Event) -> None:
        together.append([event.lease_id for event in events])
        await record(*events)

    monkeypatch.setattr(issuing.ledger, "record", noted)
    return together


async def test_changes_that_mean_others_cost_no_signature(issuing: Issuing, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often memory changes while a batch is signed: each token is signed once, all are recorded together."""
    together = _batches_of_records(issuing, monkeypatch)
    unrest = Unrest(issuing, every=20)
    monkeypatch.setattr(issuing.cloud, "sign", unrest.around(issuing.cloud.sign))
    outcomes = await issuing.issuer.issue_many(call_info(_CONSUMER), _different(300))
    assert unrest.changes == 15
    assert len(issuing.cloud.signed) == 300
    assert together == [[each.id for each in outcomes if isinstance(each, Lease)]]
    assert len(together[0]) == 300


async def test_a_batch_is_not_outrun_by_changes(issuing: Issuing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory changes faster than all can be decided, they are issued in slices: still each signed once."""
    together = _batches_of_records(issuing, monkeypatch)
    unrest = Unrest(issuing, every=40)
    monkeypatch.setattr(issuing.policy, "decide", unrest.around(issuing.policy.decide))
    outcomes = await issuing.issuer.issue_many(call_info(_CONSUMER), _different(300))
    assert 0 < unrest.changes < 60, "the batch finished because the changes ended"
    assert len(issuing.cloud.signed) == 300
    recorded = [lease for each in together for lease in each]
    assert sorted(recorded) == sorted(each.id for each in outcomes if isinstance(each, Lease))
    assert len(set(recorded)) == 300
    assert max(map(len, together)) <= 64


async def test_a_grant_that_goes_between_slices_takes_the_rest(
    issuing: Issuing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In slices, too, what is recorded is decided by what memory has then; what is on record goes out."""
    unrest = Unrest(issuing, every=40)
    monkeypatch.setattr(issuing.policy, "decide", unrest.around(issuing.policy.decide))
    record = issuing.ledger.record

    async def last(*events: Event) -> None:
        await record(*events)
        issuing.replica.memory.drop_grant("training")

    monkeypatch.setattr(issuing.ledger, "record", last)
    outcomes = await issuing.issuer.issue_many(call_info(_CONSUMER), _different(300))
    leases = [each.id for each in outcomes if isinstance(each, Lease)]
    assert 0 < len(leases) <= 64
    assert leases == [event.lease_id for event in issuing.ledger.recorded]
    refused = [each for each in outcomes if isinstance(each, BrokerError)]
    assert {each.reason for each in refused} == {Reason.RESOURCE_DENIED}
    assert len(leases) + len(refused) == 300


async def test_an_identity_that_ends_between_slices_gets_none(
    issuing: Issuing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who could not call any more gets nothing, though a slice is on record already."""
    unrest = Unrest(issuing, every=40)
    monkeypatch.setattr(issuing.policy, "decide", unrest.around(issuing.policy.decide))
    record = issuing.ledger.record

    async def last(*events: Event) -> None:
        await record(*events)
        issuing.standing = lambda _caller: Standing.ENDED

    monkeypatch.setattr(issuing.ledger, "record", last)
    with pytest.raises(BrokerError) as caught:
        await issuing.issuer.issue_many(call_info(_CONSUMER), _different(300))
    assert caught.value.reason is Reason.CREDENTIALS_INVALID
    assert len(issuing.ledger.recorded) <= 64


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        ({"max_ttl": 60}, 2),
        ({"source_ip": "203.0.113.7"}, 2),
        ({"expires": NOW + 100}, 2),
        ({"permissions": "rlw"}, 1),  # wider than what is asked for
    ],
)
async def test_a_grant_that_changes_is_what_many_are_signed_by(
    issuing: Issuing, fields: dict[str, Any], times: int
) -> None:
    """What a token or its record has of a grant is that of the grant as it is when the token is recorded."""
    asking = asyncio.create_task(issuing.issue_many(*["az://demo"] * 200))
    while not issuing.cloud.signed:  # noqa: ASYNC110
        await asyncio.sleep(0)
    issuing.grant(**fields)
    leases = await asking
    assert len(issuing.cloud.signed) == 200 * times
    assert issuing.cloud.signed_ids[-200:] == leases
    last = issuing.cloud.signed[-200:]
    until = NOW + min(900, fields.get("max_ttl", 900), fields.get("expires", NOW + 900) - NOW)
    assert {(each.expires, each.source_ip) for each in last} == {(until, fields.get("source_ip", ""))}
    assert {event.expires for event in issuing.ledger.recorded} == {until}


async def test_a_grant_that_is_cut_short_twice_cuts_many(issuing: Issuing) -> None:
    """A token that ended with its grant ends with it, too, where the grant ends sooner than it did at first."""
    issuing.grant(expires=NOW + 200)
    asking = asyncio.create_task(issuing.issue_many(*["az://demo"] * 200))
    while not issuing.cloud.signed:  # noqa: ASYNC110
        await asyncio.sleep(0)
    issuing.grant(expires=NOW + 100)
    await asking
    assert {event.expires for event in issuing.ledger.recorded} == {NOW + 100}


async def test_a_batch_at_the_end_of_its_grant_is_signed_once(
    issuing: Issuing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That less is left until then, as time goes by, makes no token another one."""
    issuing.grant(expires=NOW + 200)
    unrest = Unrest(issuing, every=2)  # Those that are alike are signed 64 at a time.
    sign = unrest.around(issuing.cloud.sign)

    def slowly(*args: Any) -> Any:
        issuing.clock.now += 0.1
        return sign(*args)

    monkeypatch.setattr(issuing.cloud, "sign", slowly)
    await issuing.issue_many(*["az://demo"] * 200)
    assert unrest.changes == 2
    assert len(issuing.cloud.signed) == 200
    assert {event.expires for event in issuing.ledger.recorded} == {NOW + 200}


async def test_another_grant_is_what_many_are_recorded_by(issuing: Issuing) -> None:
    """A record names the grant that holds: where another takes its place, tokens are signed anew by that."""
    asking = asyncio.create_task(issuing.issue_many(*["az://demo"] * 200))
    while not issuing.cloud.signed:  # noqa: ASYNC110
        await asyncio.sleep(0)
    issuing.grant("second")
    issuing.replica.memory.drop_grant("training")
    leases = await asking
    assert [(event.lease_id, event.grant) for event in issuing.ledger.recorded] == [(each, "second") for each in leases]


@pytest.mark.parametrize(
    ("fields", "keys"), [({"credential_version": 2}, 1), ({"keys_not_before": NOW - 10}, 2), ({"description": "x"}, 0)]
)
async def test_a_rotation_amid_a_batch_is_what_it_is_signed_by(
    issuing: Issuing, fields: dict[str, Any], keys: int
) -> None:
    """The record names the credential in use, and no key that was dropped signs; a new description is nothing to it."""
    asking = asyncio.create_task(issuing.issue_many(*["az://demo"] * 200))
    while not issuing.cloud.signed:  # noqa: ASYNC110
        await asyncio.sleep(0)
    memory = issuing.replica.memory
    memory.put_connector(replace(memory.connectors["azure-blob-demo"], **fields))
    leases = await asking
    assert len(issuing.cloud.signed) == (400 if keys else 200)
    assert len({id(each.key) for each in issuing.cloud.signed}) == max(keys, 1)
    assert len({id(each.key) for each in issuing.cloud.signed[-200:]}) == 1
    assert [event.lease_id for event in issuing.ledger.recorded] == leases
    version = fields.get("credential_version", 1)
    assert {event.credential_version for event in issuing.ledger.recorded} == {version}
