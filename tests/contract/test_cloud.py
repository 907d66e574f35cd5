"""The contract of `ports.Cloud`, held by the fake and by the Azure adapter on real Azurite."""

import asyncio
import base64
import hashlib
import math
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import ContainerClient

from support.azure_stack import (
    CLIENT,
    CONTAINERS,
    LOGS,
    ML,
    PLANTED,
    AzureStack,
    make_connector,
    make_credential,
    make_key_connector,
    make_key_credential,
)
from support.cloud_containers import all_containers, container_scope
from support.fake_cloud import FakeCloud
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import (
    CloudProfile,
    Connector,
    Container,
    Credential,
    Permission,
    PermissionSet,
    SasRequest,
    Scope,
    Secret,
    SignedToken,
    SigningKey,
    TokenUse,
)
from valetkey_broker.ports import Cloud

READ_LIST = PermissionSet([Permission.LIST, Permission.READ])
WRONG_KEY = Secret(base64.b64encode(b"of another account".ljust(64)).decode())
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

    async def test_revoked_delegation_keys_sign_nothing(
        self, cloud: Cloud, profile: CloudProfile, forget: Callable[[], None]
    ) -> None:
        """Every key that begins before is dead, whoever fetched it; one that begins later signs."""
        connector, credential, now = make_connector(), make_credential(), int(time.time())
        container = Container(ML, "demo-datasets", profile.container_url(ML, "demo-datasets"))
        before = await _key(cloud, connector, credential, now)
        assert await cloud.accepts(connector, container, before)
        try:
            await cloud.revoke_delegation_keys(connector, credential, ML)
            assert not await cloud.accepts(connector, container, before)
            await asyncio.sleep(1.1)  # Keys begin at whole seconds.
            starts = int(time.time())
            after = await cloud.signing_key(connector, credential, ML, starts=starts, expires=starts + 600)
            assert await cloud.accepts(connector, container, after)
        finally:
            forget()

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
        query = parse_qs(_sign(cloud, _request(profile, key, now, source_ip="10.0.0.1-10.0.0.9")).sas_token)
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
            signed = _sign(cloud, _request(profile, key, now + later))
            (signature,) = parse_qs(signed.sas_token)["sig"]
            assert signed.signature_sha256 == hashlib.sha256(signature.encode("ascii")).hexdigest()
            assert signature not in repr(signed)

    async def test_the_lease_id_is_signed_only_where_the_cloud_takes_it(self, cloud: Cloud) -> None:
        """`scid` ties Azure's own log to the ledger, and an emulator that refuses it is spared it."""
        now = int(time.time())
        key = await _key(cloud, make_connector(), make_credential(), now)
        for takes in (True, False):
            profile = CloudProfile("any", "https://a", "", "https://{account}.b", correlation_id=takes)
            assert parse_qs(_sign(cloud, _request(profile, key, now)).sas_token).get("scid") == (
                [LEASE] if takes else None
            )

    async def test_a_token_of_a_good_key_is_accepted(self, cloud: Cloud, profile: CloudProfile) -> None:
        """What proves a key is that storage accepts a token it signed, also for a container that is not there."""
        now = int(time.time())
        key = await _key(cloud, make_connector(), make_credential(), now)
        for name in ("demo-datasets", "no-such-container"):
            assert await cloud.accepts(make_connector(), Container(ML, name, profile.container_url(ML, name)), key)

    async def test_the_kind_of_an_account_is_told(self, cloud: Cloud, profile: CloudProfile) -> None:
        """Whether there are directories is learnt from the cloud: by the search for accounts, or of one account."""
        connector, credential = make_connector(), make_credential()
        now = int(time.time())
        search = await cloud.find_accounts(connector, credential)
        assert search.hierarchical == {ML: False, LOGS: False}
        key = await _key(cloud, connector, credential, now)
        container = Container(ML, "demo-datasets", profile.container_url(ML, "demo-datasets"))
        assert await cloud.hierarchical(connector, credential, container, key) is False

    async def test_a_scope_inside_a_container_is_signed_as_such(self, cloud: Cloud, profile: CloudProfile) -> None:
        """What a token is cut to stands in it."""
        now = int(time.time())
        key = await _key(cloud, make_connector(), make_credential(), now)
        container = Container(ML, "demo-datasets", profile.container_url(ML, "demo-datasets"))
        for directory, kind in ((False, "b"), (True, "d")):
            scope = Scope.of_path(container, "a/b", directory=directory)
            query = parse_qs(_sign(cloud, replace(_request(profile, key, now), scope=scope)).sas_token)
            assert query["sr"] == [kind]

    async def test_a_token_does_what_it_is_for_and_nothing_else(self, cloud: Cloud, profile: CloudProfile) -> None:
        """A blob goes in and out; another container, and what is outside of containers, refuse the same token."""
        now = int(time.time())
        connector, blob = make_connector(), f".valetkey-probe/{uuid.uuid4()}"
        key = await _key(cloud, connector, make_credential(), now)
        permissions = PermissionSet([Permission.READ, Permission.WRITE, Permission.DELETE, Permission.LIST])
        token = _sign(cloud, replace(_request(profile, key, now), permissions=permissions))
        own, other = (Container(ML, name, profile.container_url(ML, name)) for name in CONTAINERS[ML])
        for use in (TokenUse.WRITE, TokenUse.READ, TokenUse.LIST):
            await cloud.use_token(connector, own, token, use, blob)
        for container, use in ((other, TokenUse.LIST), (own, TokenUse.OUTSIDE)):
            with pytest.raises(BrokerError) as refused:
                await cloud.use_token(connector, container, token, use, blob)
            assert refused.value.reason in (Reason.CLOUD_CREDENTIAL_REJECTED, Reason.CLOUD_PERMISSION_MISSING)
        await cloud.use_token(connector, own, token, TokenUse.DELETE, blob)
        for use in (TokenUse.READ, TokenUse.LIST):
            with pytest.raises(BrokerError) as gone:
                await cloud.use_token(connector, own, token, use, blob)
            assert gone.value.reason is Reason.RESOURCE_NOT_FOUND

    async def test_an_answer_tells_the_time(self, cloud: Cloud) -> None:
        """Whoever has asked knows how far the clocks are apart."""
        await cloud.log_in(make_connector(), make_credential())
        skew = cloud.clock_skew(make_connector())
        assert skew is not None
        assert abs(skew) < 60

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


@pytest.mark.parametrize("auth_method", ["account-key", "connection-string"])
class KeyContract:
    """What every cloud keeps where a connector has an account's own key; `key` is the right one."""

    async def test_the_right_key_opens_its_account(
        self, cloud: Cloud, profile: CloudProfile, key: Secret, auth_method: str
    ) -> None:
        """The account is the key's: nothing is looked for elsewhere, and its containers are listed with their URLs."""
        connector, credential = make_key_connector(auth_method), make_key_credential(key, auth_method)
        await cloud.log_in(connector, credential)
        assert (await cloud.find_accounts(connector, credential)).accounts == [ML]
        found = await all_containers(cloud, connector, credential)
        assert [each.url for each in found] == [profile.container_url(ML, name) for name in CONTAINERS[ML]]
        one = await cloud.check_container(connector, credential, ML, "demo-datasets")
        assert one == found[0]

    async def test_a_wrong_key_is_refused(self, cloud: Cloud, auth_method: str) -> None:
        """A key that was regenerated, or is another account's, is told apart from a missing permission."""
        connector, wrong = make_key_connector(auth_method), make_key_credential(WRONG_KEY, auth_method)
        with pytest.raises(BrokerError) as caught:
            await cloud.log_in(connector, wrong)
        assert caught.value.reason is Reason.CLOUD_CREDENTIAL_REJECTED
        assert "the account key was not accepted" in caught.value.message
        # Azure says AuthenticationFailed; Azurite, which takes tokens of Entra as well, finds none in the header.
        assert caught.value.metadata.pop("azure_code") in ("AuthenticationFailed", "InvalidAuthenticationInfo")
        assert caught.value.metadata == {
            "step": "use the account key",
            "account": ML,
            "connector": "azure-blob-demo",
        }

    async def test_an_accounts_key_has_no_end(self, cloud: Cloud, key: Secret, auth_method: str) -> None:
        """It holds until somebody regenerates it, so it is neither renewed nor what shortens a token."""
        connector, credential = make_key_connector(auth_method), make_key_credential(key, auth_method)
        signing = await _key(cloud, connector, credential, int(time.time()))
        assert (signing.account, signing.starts, signing.expires) == (ML, 0.0, math.inf)

    async def test_a_token_of_the_key_is_accepted(
        self, cloud: Cloud, profile: CloudProfile, key: Secret, auth_method: str
    ) -> None:
        """Storage takes what the key signs, which names no delegation key."""
        connector, credential = make_key_connector(auth_method), make_key_credential(key, auth_method)
        now = int(time.time())
        signing = await _key(cloud, connector, credential, now)
        container = Container(ML, "demo-datasets", profile.container_url(ML, "demo-datasets"))
        assert await cloud.accepts(connector, container, signing)
        query = parse_qs(_sign(cloud, _request(profile, signing, now)).sas_token)
        assert (query["sp"], query["spr"], query["sr"]) == (["rl"], ["https"], ["c"])
        assert not {"skoid", "skt", "ske", "si"} & set(query)


class TestFakeKeys(KeyContract):
    """The fake keeps the contract of keys."""

    @pytest.fixture
    def key(self) -> Secret:
        return Secret(base64.b64encode(b"the right one".ljust(64)).decode())

    @pytest.fixture
    def cloud(self, key: Secret) -> FakeCloud:
        return FakeCloud(CONTAINERS, secrets=[key.reveal()])

    @pytest.fixture
    def profile(self, cloud: FakeCloud) -> CloudProfile:
        return cloud.profile


class TestAzureKeys(KeyContract):
    """The adapter keeps the contract of keys on real Azurite, and what is signed moves a blob there."""

    @pytest.fixture
    def key(self, azure: AzureStack) -> Secret:
        return azure.azurite.accounts[ML]

    @pytest.fixture
    def cloud(self, azure: AzureStack) -> Cloud:
        return azure.cloud

    @pytest.fixture
    def profile(self, azure: AzureStack) -> CloudProfile:
        return azure.profile

    async def test_a_token_moves_a_blob(self, azure: AzureStack, key: Secret, auth_method: str) -> None:
        """A consumer with a token of an account's key writes and reads in its container, and nowhere else."""
        connector, credential = make_key_connector(auth_method), make_key_credential(key, auth_method)
        now = int(time.time())
        signing = await _key(azure.cloud, connector, credential, now)
        permissions = PermissionSet([Permission.READ, Permission.CREATE, Permission.WRITE])
        asked = replace(_request(azure.profile, signing, now), permissions=permissions)
        token = _sign(azure.cloud, asked).sas_token
        async with _container(azure, "demo-datasets", token) as client:
            blob = await client.upload_blob(f"by-{auth_method}", b"weights", overwrite=True)
            assert await (await blob.download_blob()).readall() == b"weights"
        async with _container(azure, "demo-zenmlartifactstore", token) as client:
            with pytest.raises(HttpResponseError):
                await client.upload_blob("elsewhere", b"weights", overwrite=True)


class TestFake(Contract):
    """The fake keeps the contract, so tests on it say something."""

    @pytest.fixture
    def forget(self) -> Callable[[], None]:
        return lambda: None

    @pytest.fixture
    def cloud(self) -> FakeCloud:
        return FakeCloud(CONTAINERS, secrets=[PLANTED.reveal()])

    @pytest.fixture
    def profile(self, cloud: FakeCloud) -> CloudProfile:
        return cloud.profile


class TestAzure(Contract):
    """The adapter keeps the contract, on the control-plane stand-in and real Azurite."""

    @pytest.fixture
    def forget(self, azure: AzureStack) -> Callable[[], None]:
        # Other tests on this Azurite sign with keys that begin in the past.
        azure.control_plane.key_revocations.apply = azure.azurite.revoke_delegation_keys
        return lambda: azure.azurite.revoke_delegation_keys(ML, 0.0, 0.0)

    @pytest.fixture
    def cloud(self, azure: AzureStack) -> Cloud:
        return azure.cloud

    @pytest.fixture
    def profile(self, azure: AzureStack) -> CloudProfile:
        return azure.profile


def _container(azure: AzureStack, name: str, token: str) -> ContainerClient:
    transport = AioHttpTransport(use_env_settings=False, connection_verify=azure.profile.ca_file)
    return ContainerClient(azure.profile.blob_url(ML), name, credential=token, transport=transport, retry_total=0)


async def _key(cloud: Cloud, connector: Connector, credential: Credential, now: int) -> SigningKey:
    return await cloud.signing_key(connector, credential, ML, starts=now - 900, expires=now + 3600)


def _sign(cloud: Cloud, request: SasRequest) -> SignedToken:
    (signed,) = cloud.sign(request, [LEASE])
    return signed


def _request(profile: CloudProfile, key: SigningKey, now: int, source_ip: str = "") -> SasRequest:
    return SasRequest(
        profile,
        container_scope(profile, key.account, "demo-datasets"),
        READ_LIST,
        now - 900,
        now + 600,
        source_ip,
        key,
    )
