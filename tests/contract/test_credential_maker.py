"""The contract of `ports.credential_maker`, held by the fake and by the Azure adapter on the stand-in."""

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.azure_stack import (
    CLIENT,
    ML,
    PLANTED,
    SUBSCRIPTION,
    TENANT,
    make_connector,
    make_credential,
    make_key_connector,
    make_key_credential,
)
from support.fake_maker import FakeMaker
from valetkey_broker.adapters.azure import AzureCloud, AzureCredentialMaker
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import CloudProfile, Secret
from valetkey_broker.ports.credential_maker import CredentialMaker
from valetkey_devstack.azurite import new_key
from valetkey_devstack.ca import CertificateAuthority, make_ca
from valetkey_devstack.control_plane import ControlPlane

BY, CREDENTIAL = make_connector(), make_credential()
ENDS = datetime.now(UTC) + timedelta(days=90)


class Contract:
    """What every maker keeps; subclasses give `maker`."""

    async def test_a_secret_is_made_listed_and_removed(self, maker: CredentialMaker) -> None:
        """Its name and id are those that were told, its hint how it begins; removed, it is gone, and not found."""
        made = await maker.add_password(BY, CREDENTIAL, CLIENT, "ours 1", ENDS)
        listed = {each.key_id: each for each in await maker.passwords(BY, CREDENTIAL, CLIENT)}
        assert len(listed) == 2
        assert listed[made.key_id].display_name == "ours 1"
        assert listed[made.key_id].hint == made.value.reveal()[:3]
        assert abs((listed[made.key_id].ends_at or datetime.max.replace(tzinfo=UTC)) - ENDS) < timedelta(seconds=2)
        assert made.value.reveal() not in repr(made) + repr(listed)
        await maker.remove_password(BY, CREDENTIAL, CLIENT, made.key_id)
        assert made.key_id not in [each.key_id for each in await maker.passwords(BY, CREDENTIAL, CLIENT)]
        with pytest.raises(BrokerError) as caught:
            await maker.remove_password(BY, CREDENTIAL, CLIENT, made.key_id)
        assert caught.value.reason is Reason.CLOUD_REQUEST_REFUSED

    async def test_an_application_of_others_is_refused(self, maker: CredentialMaker) -> None:
        """What the permission is not for is a missing permission."""
        with pytest.raises(BrokerError) as caught:
            await maker.passwords(BY, CREDENTIAL, TENANT)
        assert caught.value.reason is Reason.CLOUD_PERMISSION_MISSING

    async def test_one_key_is_replaced_and_the_other_stays(self, maker: CredentialMaker) -> None:
        """Keys go by name; both are told afterwards."""
        before = await maker.account_keys(BY, CREDENTIAL, ML)
        after = await maker.regenerate_key(BY, CREDENTIAL, ML, "key1")
        assert sorted(before) == sorted(after) == ["key1", "key2"]
        assert before["key1"] != after["key1"]
        assert before["key2"] == after["key2"]
        assert await maker.account_keys(BY, CREDENTIAL, ML) == after
        with pytest.raises(BrokerError) as caught:
            await maker.account_keys(BY, CREDENTIAL, "nosuchaccount")
        assert caught.value.reason is Reason.RESOURCE_NOT_FOUND


class TestFake(Contract):
    @pytest.fixture
    def maker(self) -> FakeMaker:
        return FakeMaker(CLIENT, PLANTED, [ML])


class Keys:
    """Keys of accounts, without a storage that checks them."""

    def __init__(self) -> None:
        self.held = {ML: {"key1": new_key(), "key2": new_key()}}

    def keys(self, account: str) -> Mapping[str, Secret]:
        return self.held[account]

    async def regenerate(self, account: str, name: str) -> None:
        self.held[account][name] = new_key()


@dataclass
class Stack:
    maker: AzureCredentialMaker
    plane: ControlPlane


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def stack(ca: CertificateAuthority, tmp_path: Path) -> AsyncIterator[Stack]:
    plane = ControlPlane(TENANT, CLIENT, PLANTED, SUBSCRIPTION, [ML])
    plane.account_keys.holder = Keys()
    await plane.start("127.0.0.1", 0, *ca.issue("control-plane", tmp_path))
    profile = CloudProfile(
        name="dev",
        authority=plane.url,
        arm_endpoint=plane.url,
        graph_endpoint=plane.graph_url,
        blob_endpoint="https://{account}.blob.invalid",
        ca_file=str(ca.ca_file),
    )
    cloud = AzureCloud({"dev": profile}, connect_seconds=2.0, read_seconds=0.5)
    yield Stack(AzureCredentialMaker(cloud), plane)
    await cloud.close()
    await plane.stop()


class TestAzure(Contract):
    @pytest.fixture
    def maker(self, stack: Stack) -> AzureCredentialMaker:
        return stack.maker

    async def test_a_lost_answer_is_no_reason_to_ask_again(self, stack: Stack) -> None:
        """A connection that breaks and an answer that is late are passing errors; one secret was made each time."""
        for after in (0.0, 1.0):
            stack.plane.lose("add-password", times=1, after=after)
            with pytest.raises(BrokerError) as caught:
                await stack.maker.add_password(BY, CREDENTIAL, CLIENT, "ours", ENDS)
            assert caught.value.reason is Reason.CLOUD_UNAVAILABLE
        assert stack.plane.requests["add-password"] == 2

    async def test_an_answer_without_secrets_is_no_empty_list(self, stack: Stack) -> None:
        """What a gateway says in Graph's place does not make a secret one that was removed."""
        stack.plane.fail("application", 200, body="{}")
        with pytest.raises(BrokerError) as caught:
            await stack.maker.passwords(BY, CREDENTIAL, CLIENT)
        assert caught.value.reason is Reason.CLOUD_UNAVAILABLE

    async def test_forbidden_says_which_permission_to_grant(self, stack: Stack) -> None:
        """OwnedBy as an owner is named, with the commands that grant it; the wider permission is not asked for."""
        stack.plane.graph.owned = False
        with pytest.raises(BrokerError) as caught:
            await stack.maker.add_password(BY, CREDENTIAL, CLIENT, "ours", ENDS)
        error = caught.value
        assert error.reason is Reason.CLOUD_PERMISSION_MISSING
        assert error.metadata["azure_code"] == "Authorization_RequestDenied"
        assert "Application.ReadWrite.OwnedBy" in error.message
        assert f"az ad app owner add --id {CLIENT}" in error.mend
        assert "18a4783c-866b-4cc7-a460-3d5e5662c884=Role" in error.mend

    async def test_forbidden_keys_name_the_role(self, stack: Stack) -> None:
        """Of account keys the role is named, and the account it is to be assigned at."""
        stack.plane.account_keys.allowed = set()
        with pytest.raises(BrokerError) as caught:
            await stack.maker.account_keys(BY, CREDENTIAL, ML)
        assert caught.value.metadata["account"] == ML
        assert "Storage Account Key Operator Service Role" in caught.value.message
        assert "az role assignment create --assignee" in caught.value.mend

    async def test_429_says_how_long_to_wait(self, stack: Stack) -> None:
        """Graph's throttling is told with its time."""
        stack.plane.fail("remove-password", 429, retry_after=17, times=1)
        with pytest.raises(BrokerError) as caught:
            await stack.maker.remove_password(BY, CREDENTIAL, CLIENT, TENANT)
        assert (caught.value.reason, caught.value.retry_after) == (Reason.CLOUD_THROTTLED, 17.0)

    async def test_an_account_is_found_where_it_is(self, stack: Stack) -> None:
        """The resource group is looked up, or taken from the connector, which then needs no Reader."""
        await stack.maker.account_keys(BY, CREDENTIAL, ML)
        assert stack.plane.requests["arm"] == 2
        there = replace(BY, azure=replace(BY.azure, subscription_id=SUBSCRIPTION, resource_group="valetkey"))
        assert set(await stack.maker.account_keys(there, CREDENTIAL, ML)) == {"key1", "key2"}
        assert stack.plane.requests["arm"] == 2

    async def test_a_key_makes_no_keys(self, stack: Stack) -> None:
        """A connector with an account's key cannot ask Azure Resource Manager or Graph, and says so."""
        by, credential = make_key_connector(), make_key_credential(new_key())
        with pytest.raises(BrokerError, match="service principal"):
            await stack.maker.account_keys(by, credential, ML)
        with pytest.raises(BrokerError, match="service principal"):
            await stack.maker.passwords(by, credential, CLIENT)

    async def test_a_clock_16_minutes_off_does_no_harm(self, stack: Stack) -> None:
        """A secret begins when Entra makes it, not when the broker's clock says."""
        for ahead in (960.0, -960.0):
            stack.plane.ahead = ahead
            made = await stack.maker.add_password(make_connector(), CREDENTIAL, CLIENT, "ours", ENDS)
            (password,) = [each for each in stack.plane.passwords.there() if each.key_id == made.key_id]
            assert abs(password.starts.timestamp() - time.time() - ahead) < 60
