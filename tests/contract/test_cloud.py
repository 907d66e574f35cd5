"""The contract of `ports.Cloud`, held by the fake and by the Azure adapter on real Azurite."""

import asyncio
import hashlib
import time
from urllib.parse import parse_qs

import pytest

from support.azure_stack import (
    CLIENT,
    CONTAINERS,
    LOGS,
    ML,
    PLANTED,
    AzureStack,
    make_connector,
    make_credential,
)
from support.fake_cloud import FakeCloud
from support.listing import all_containers, container_scope
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import (
    CloudProfile,
    Connector,
    Container,
    Credential,
    Permission,
    PermissionSet,
    SasRequest,
    Secret,
    SigningKey,
)
from valetkey_broker.ports import Cloud

READ_LIST = PermissionSet([Permission.LIST, Permission.READ])
LEASE = "0f9d7c52-6a3e-4a53-9d53-0f3a4f4f6c11"


class Contract:
    """What every cloud keeps; subclasses give `cloud` and `profile`."""

    async def test_the_right_secret_logs_in(self, cloud: Cloud) -> None:
        """A secret that Entra takes is proved by a log-in, which returns nothing and raises nothing."""
        await cloud.log_in(make_connector(), make_credential())

    async def test_a_wrong_secret_is_refused_with_azures_code(self, cloud: Cloud) -> None:
        """People see Azure's own code and the failing step, programs a reason."""
        with pytest.raises(BrokerError) as caught:
            await cloud.log_in(make_connector(), make_credential(Secret("wrong")))
        assert caught.value.reason is Reason.CLOUD_CREDENTIAL_REJECTED
        assert "AADSTS7000215 invalid client secret" in caught.value.message
        assert CLIENT in caught.value.message
        assert caught.value.metadata == {
            "step": "log in to Entra",
            "azure_code": "AADSTS7000215",
            "connector": "azure-blob-demo",
        }

    async def test_containers_are_listed_by_account_and_name(self, cloud: Cloud, profile: CloudProfile) -> None:
        """Without a storage account, all accounts are looked through, in a steady order, with full URLs."""
        found = await all_containers(cloud, make_connector(), make_credential())
        assert [(each.account, each.name) for each in found] == [
            (LOGS, "demo-logs"),
            (ML, "demo-datasets"),
            (ML, "demo-zenmlartifactstore"),
        ]
        assert [each.url for each in found] == [profile.container_url(each.account, each.name) for each in found]

    async def test_a_named_account_is_the_only_one_looked_at(self, cloud: Cloud) -> None:
        """A connector bound to an account never shows containers of another."""
        found = await all_containers(cloud, make_connector(storage_account=LOGS), make_credential())
        assert [(each.account, each.name) for each in found] == [(LOGS, "demo-logs")]

    async def test_a_delegation_key_is_good_for_the_time_asked(self, cloud: Cloud) -> None:
        """Issuing trusts the key's times, so they are Azure's, in Unix seconds."""
        now = int(time.time())
        key = await _key(cloud, make_connector(), make_credential(), now)
        assert (key.account, key.starts, key.expires) == (ML, now - 900, now + 3600)

    async def test_a_wrong_secret_gets_no_key_and_no_list(self, cloud: Cloud) -> None:
        """Each call logs in by itself; none relies on an earlier log_in."""
        wrong = make_credential(Secret("wrong"))
        with pytest.raises(BrokerError) as no_key:
            await _key(cloud, make_connector(), wrong, int(time.time()))
        with pytest.raises(BrokerError) as no_list:
            await all_containers(cloud, make_connector(), wrong)
        assert {no_key.value.reason, no_list.value.reason} == {Reason.CLOUD_CREDENTIAL_REJECTED}
        assert no_key.value.metadata["step"] == "log in to Entra"

    async def test_a_good_login_does_not_serve_another_secret(self, cloud: Cloud) -> None:
        """What is kept in memory for a secret is never used for another one of the same connector and version."""
        connector = make_connector()
        await cloud.log_in(connector, make_credential())
        with pytest.raises(BrokerError):
            await _key(cloud, connector, make_credential(Secret("wrong")), int(time.time()))

    async def test_what_is_signed_says_what_was_asked(self, cloud: Cloud, profile: CloudProfile) -> None:
        """The query string carries the permissions, the times and the address, and is for https and a container."""
        now = int(time.time())
        key = await _key(cloud, make_connector(), make_credential(), now)
        query = parse_qs(cloud.sign(_request(profile, key, now, source_ip="10.0.0.1-10.0.0.9")).sas_token)
        assert query["sp"] == ["rl"]
        assert query["spr"] == ["https"]
        assert query["sr"] == ["c"]
        assert query["sip"] == ["10.0.0.1-10.0.0.9"]
        assert query["st"] == [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 900))]
        assert query["se"] == [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 600))]
        assert query["sig"]

    async def test_the_signature_is_hashed_as_it_was_before_url_encoding(
        self, cloud: Cloud, profile: CloudProfile
    ) -> None:
        """A token that turns up, encoded this way or that, can be matched with its record."""
        now = int(time.time())
        key = await _key(cloud, make_connector(), make_credential(), now)
        for later in range(20):  # Chance decides whether a signature has anything to escape.
            signed = cloud.sign(_request(profile, key, now + later))
            (signature,) = parse_qs(signed.sas_token)["sig"]
            assert signed.signature_sha256 == hashlib.sha256(signature.encode("ascii")).hexdigest()
            assert signature not in repr(signed)

    async def test_the_lease_id_is_signed_only_where_the_cloud_takes_it(self, cloud: Cloud) -> None:
        """`scid` ties Azure's own log to the ledger, and an emulator that refuses it is spared it."""
        now = int(time.time())
        key = await _key(cloud, make_connector(), make_credential(), now)
        for takes in (True, False):
            profile = CloudProfile("any", "https://a", "", "https://{account}.b", correlation_id=takes)
            assert parse_qs(cloud.sign(_request(profile, key, now)).sas_token).get("scid") == (
                [LEASE] if takes else None
            )

    async def test_a_token_of_a_good_key_is_accepted(self, cloud: Cloud, profile: CloudProfile) -> None:
        """What proves a key is that storage accepts a token it signed, also for a container that is not there."""
        now = int(time.time())
        key = await _key(cloud, make_connector(), make_credential(), now)
        for name in ("demo-datasets", "no-such-container"):
            assert await cloud.accepts(make_connector(), Container(ML, name, profile.container_url(ML, name)), key)

    async def test_many_calls_at_once_all_succeed(self, cloud: Cloud) -> None:
        """A cold start with many callers is an ordinary thing."""
        connector, credential = make_connector(), make_credential()
        now = int(time.time())
        keys = await asyncio.gather(*(_key(cloud, connector, credential, now) for _ in range(8)))
        assert {key.account for key in keys} == {ML}

    async def test_a_forgotten_connector_can_come_back(self, cloud: Cloud) -> None:
        """Forgetting closes what is held, and no more; forgetting what is unknown is fine."""
        connector = make_connector()
        await cloud.log_in(connector, make_credential())
        await cloud.forget(connector.uid)
        await cloud.forget("never seen")
        await cloud.log_in(connector, make_credential())

    async def test_closing_twice_is_fine(self, cloud: Cloud) -> None:
        """A start that failed half-way closes what it has, and never raises over it."""
        await cloud.log_in(make_connector(), make_credential())
        await cloud.close()
        await cloud.close()


class TestFake(Contract):
    """The fake keeps the contract, so tests on it say something."""

    @pytest.fixture
    def cloud(self) -> FakeCloud:
        return FakeCloud(CONTAINERS, secrets=[PLANTED.reveal()])

    @pytest.fixture
    def profile(self, cloud: FakeCloud) -> CloudProfile:
        return cloud.profile


class TestAzure(Contract):
    """The adapter keeps the contract, on the control-plane stand-in and real Azurite."""

    @pytest.fixture
    def cloud(self, azure: AzureStack) -> Cloud:
        return azure.cloud

    @pytest.fixture
    def profile(self, azure: AzureStack) -> CloudProfile:
        return azure.profile


async def _key(cloud: Cloud, connector: Connector, credential: Credential, now: int) -> SigningKey:
    return await cloud.signing_key(connector, credential, ML, starts=now - 900, expires=now + 3600)


def _request(profile: CloudProfile, key: SigningKey, now: int, source_ip: str = "") -> SasRequest:
    return SasRequest(
        profile,
        container_scope(profile, key.account, "demo-datasets"),
        READ_LIST,
        now - 900,
        now + 600,
        source_ip,
        LEASE,
        key,
    )
