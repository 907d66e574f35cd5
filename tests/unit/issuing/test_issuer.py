"""Issuer: who may not gets nothing and costs nothing; what is signed is what was authorised; no record, no token."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from broker.errors import BrokerError, Reason
from broker.issuing.choose import ConnectorChooser
from broker.issuing.delegation_keys import DelegationKeys
from broker.issuing.directory import ContainerDirectory
from broker.issuing.issuer import Issuer
from broker.ledger import LogLedger
from broker.model import DelegationKey, InvalidFieldError, Lease, Permission, PermissionSet, Role, Secret
from broker.settings import IssuingSettings
from support.core import NOW, PLANTED, PROFILE, PROFILES, FakeClock, Replica, make_connector, principal
from support.fake_cloud import FakeCloud

_CONSUMER = principal(Role.CONSUMER, connectors=("azure-blob-demo",), name="key:trainer")
_READ_LIST = PermissionSet([Permission.READ, Permission.LIST])


class MemoryLedger:
    """Keeps leases in a list; refuses where `broken` is set."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self.broken = False

    async def record(self, lease: Lease) -> None:
        if self.broken:
            raise BrokerError(Reason.VAULT_UNAVAILABLE, "the ledger cannot be written")
        self.leases.append(lease)


class Issuing:
    """An issuer with everything below it, on fakes. The consumer may use azure-blob-demo; there is `other` too."""

    def __init__(self, *, cloud: FakeCloud | None = None) -> None:
        self.clock = FakeClock()
        self.replica = Replica()
        self.cloud = cloud or FakeCloud({"acc": ["demo", "models"]}, profile=PROFILE)
        self.ledger = MemoryLedger()
        credential = self.replica.repository.credential
        self.keys = DelegationKeys(
            cloud=self.cloud,
            credential=credential,
            clock=self.clock,
            key_seconds=24 * 3600,
            skew_seconds=900,
            timeout_seconds=1,
        )
        self.directory = ContainerDirectory(
            cloud=self.cloud, credential=credential, clock=self.clock, fresh_seconds=300, timeout_seconds=1
        )
        self.issuer = Issuer(
            memory=self.replica.memory,
            chooser=ConnectorChooser(PROFILES, self.directory),
            keys=self.keys,
            cloud=self.cloud,
            ledger=self.ledger,
            clock=self.clock,
            settings=IssuingSettings(),
        )

    async def seed(self) -> None:
        for name in ("azure-blob-demo", "other"):
            await self.replica.repository.create_connector(make_connector(name, version=0), Secret(PLANTED))
        self.replica.store.calls.clear()

    async def issue(self, caller: Any = _CONSUMER, **values: Any) -> Lease:
        asked: dict[str, Any] = {
            "resource_id": "az://demo",
            "permissions": _READ_LIST,
            "ttl": None,
            "connector_name": "",
            "source_ip": "",
        }
        return await self.issuer.issue(caller, **{**asked, **values})

    def assert_untouched(self) -> None:
        assert not self.cloud.calls
        assert not self.replica.store.calls
        assert not self.ledger.leases


@pytest_asyncio.fixture
async def issuing() -> AsyncIterator[Issuing]:
    """Two multi-instance connectors, nothing asked of the cloud yet."""
    issuing = Issuing()
    await issuing.seed()
    yield issuing
    await issuing.keys.close()
    await issuing.directory.close()


async def test_a_token_says_what_was_asked(issuing: Issuing) -> None:
    """The signed fields, the lease and the record agree."""
    lease = await issuing.issue(ttl=1800, source_ip="203.0.113.1-203.0.113.9", connector_name="azure-blob-demo")
    signed = {name: values[0] for name, values in parse_qs(lease.sas_token).items()}
    assert (signed["container"], signed["account"], signed["sp"], signed["spr"]) == ("demo", "acc", "rl", "https")
    assert signed["sip"] == "203.0.113.1-203.0.113.9"
    (request,) = issuing.cloud.signed
    assert (request.starts, request.expires) == (NOW - 900, NOW + 1800) == (lease.starts, lease.expires)
    assert (request.lease_id, request.permissions, request.profile) == (lease.id, lease.permissions, PROFILE)
    assert (lease.principal, lease.connector, lease.credential_version) == ("key:trainer", "azure-blob-demo", 1)
    assert (lease.account, lease.container, lease.url) == ("acc", "demo", "https://acc.blob.dev.invalid/demo")
    assert issuing.ledger.leases == [lease]


async def test_a_warm_issuer_asks_nobody(issuing: Issuing) -> None:
    """The second token costs no call to Azure or Vault, and has an id of its own."""
    first = await issuing.issue()
    issuing.cloud.calls.clear()
    issuing.replica.store.calls.clear()
    second = await issuing.issue()
    assert issuing.cloud.calls == {"sign": 1}
    assert not issuing.replica.store.calls
    assert first.id != second.id


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
        ({"connector_name": "../x"}, "connector"),
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
        (_CONSUMER, {"connector_name": "other"}),
        (_CONSUMER, {"connector_name": "nowhere"}),
        (principal(Role.CONSUMER, connectors=("nowhere",)), {}),
        (principal(Role.CONSUMER), {}),
        (principal(Role.OPERATOR), {}),
        (principal(Role.VIEWER), {"connector_name": "azure-blob-demo"}),
        (principal(Role.OPERATOR, connectors=("azure",)), {"connector_name": "azure-blob-demo"}),
    ],
)
async def test_who_may_not_costs_nothing(issuing: Issuing, caller: Any, values: dict[str, Any]) -> None:
    """Nothing is asked of Azure or Vault for a caller who is not allowed."""
    with pytest.raises(BrokerError) as caught:
        await issuing.issue(caller, **values)
    assert caught.value.reason is Reason.RESOURCE_DENIED
    issuing.assert_untouched()


async def test_a_refused_prefix_of_a_stranger_costs_nothing_either(issuing: Issuing) -> None:
    """Whether a path could be served is nobody's business who may not use the container."""
    with pytest.raises(BrokerError) as caught:
        await issuing.issue(principal(Role.CONSUMER), resource_id="az://demo/path")
    assert caught.value.reason is Reason.RESOURCE_DENIED
    issuing.assert_untouched()


@pytest.mark.parametrize("resource_id", ["az://demo/a", "az://demo/a/b/", "https://acc.blob.dev.invalid/demo/a"])
async def test_a_prefix_is_refused_and_nothing_wider_is_signed(issuing: Issuing, resource_id: str) -> None:
    """On a flat account a token for a path would be one for the container: it is refused instead."""
    with pytest.raises(BrokerError, match="nothing wider is given") as caught:
        await issuing.issue(resource_id=resource_id)
    assert caught.value.reason is Reason.SCOPE_UNSUPPORTED
    assert not issuing.cloud.signed
    assert not issuing.cloud.keys
    assert not issuing.ledger.leases


async def test_an_unrecorded_token_does_not_leave(issuing: Issuing) -> None:
    """The ledger failing is the caller's error; the token stays inside, and the error does not hold it."""
    issuing.ledger.broken = True
    with pytest.raises(BrokerError, match="ledger cannot be written") as caught:
        await issuing.issue()
    assert "sig=" not in str(caught.value) + repr(caught.value.metadata)


@pytest.mark.parametrize("call", ["find_containers", "delegation_key", "sign"])
async def test_a_failing_cloud_leaves_no_record(issuing: Issuing, call: Any) -> None:
    """What was not issued does not stand in the ledger."""
    issuing.cloud.fail(call, Reason.CLOUD_UNAVAILABLE)
    with pytest.raises(BrokerError) as caught:
        await issuing.issue()
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE
    assert not issuing.ledger.leases


async def test_a_token_never_outlives_its_key(issuing: Issuing) -> None:
    """With Azure away and a key that ends early, the token ends with it."""
    await issuing.issue()
    (key,) = issuing.cloud.keys
    issuing.cloud.fail("delegation_key", Reason.CLOUD_UNAVAILABLE)
    issuing.clock.now = key.expires - 300
    with capture_logs():
        lease = await issuing.issue(ttl=3600)
    assert lease.expires == key.expires
    assert issuing.cloud.signed[-1].key is key


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
    await issuing.directory.close()


class LateKeyCloud(FakeCloud):
    """A cloud whose keys begin ten and a half seconds ago, whatever was asked."""

    async def delegation_key(self, *args: Any, starts: float, expires: float) -> DelegationKey:
        key = await super().delegation_key(*args, starts=starts, expires=expires)
        return replace(key, starts=NOW - 10.5)


async def test_a_key_that_begins_late_makes_a_token_that_begins_late() -> None:
    """The key's start wins over the backdating, rounded to the second inside of it."""
    issuing = Issuing(cloud=LateKeyCloud({"acc": ["demo"]}, profile=PROFILE))
    await issuing.seed()
    assert (await issuing.issue()).starts == NOW - 10
    await issuing.keys.close()
    await issuing.directory.close()


async def test_a_deleted_connector_issues_nothing(issuing: Issuing) -> None:
    """From the deletion on the connector's callers are refused."""
    await issuing.issue()
    await issuing.replica.repository.delete_connector("azure-blob-demo", "key:ops")
    with pytest.raises(BrokerError) as caught:
        await issuing.issue()
    assert caught.value.reason is Reason.RESOURCE_DENIED


async def test_the_log_ledger_records_all_but_the_token(issuing: Issuing) -> None:
    """The record says who got what for how long, and nothing that opens anything."""
    lease = await issuing.issue()
    with capture_logs() as logs:
        await LogLedger().record(lease)
    (line,) = logs
    assert line["event"] == "token issued"
    assert {name: line[name] for name in ("lease_id", "principal", "connector", "resource", "permissions")} == {
        "lease_id": lease.id,
        "principal": "key:trainer",
        "connector": "azure-blob-demo",
        "resource": "https://acc.blob.dev.invalid/demo",
        "permissions": "rl",
    }
    assert lease.sas_token not in str(line)
    assert "sig" not in str(line)
