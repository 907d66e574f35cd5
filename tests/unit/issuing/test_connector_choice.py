"""ConnectorChooser: the one container that a resource id means, and never a guess."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.core import PROFILE, PROFILES, FakeClock, credential_of, make_connector, principal
from support.fake_cloud import FakeCloud
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.issuing.connector_choice import Choice, ConnectorChooser
from valetkey_broker.model import Connector, Container, Credential, ResourceId
from valetkey_broker.ports import AccountSearch


class BoundCloud(FakeCloud):
    """A cloud in which a connector called `bad` fails."""

    async def find_accounts(self, connector: Connector, credential: Credential) -> AccountSearch:
        if connector.name == "bad":
            raise BrokerError(Reason.CLOUD_CREDENTIAL_REJECTED, "the secret of bad is wrong")
        return await super().find_accounts(connector, credential)


class Chooser:
    """A chooser on a fake cloud."""

    def __init__(self) -> None:
        self.cloud = BoundCloud({"one": ["demo", "models"], "two": ["demo"]}, profile=PROFILE)
        self.reach = ReachCache(CloudClient(self.cloud, credential_of, 1), FakeClock(), 300)
        self.chooser = ConnectorChooser(PROFILES, self.reach)

    async def choose(self, resource: str, *connectors: Connector) -> Choice:
        caller = principal(name="key:caller")
        return await self.chooser.choose(caller, connectors, ResourceId.parse(resource))

    async def refusal(self, resource: str, *connectors: Connector) -> BrokerError:
        with pytest.raises(BrokerError) as caught:
            await self.choose(resource, *connectors)
        return caught.value


@pytest_asyncio.fixture
async def chooser() -> AsyncIterator[Chooser]:
    """The cloud has demo in the accounts one and two, and models in one."""
    chooser = Chooser()
    yield chooser
    await chooser.reach.close()


async def test_a_single_instance_connector_needs_no_listing(chooser: Chooser) -> None:
    """Its one container is written down: Azure is not asked."""
    mine = make_connector("mine", "demo", account="two")
    connector, profile, container = await chooser.choose("az://demo", mine)
    assert (connector, profile) == (mine, PROFILE)
    assert container == Container("two", "demo", "https://two.blob.dev.invalid/demo")
    assert not chooser.cloud.calls


async def test_a_single_instance_connector_is_not_taken_for_another_account(chooser: Chooser) -> None:
    """The account that was named counts, also where the container has the same name."""
    mine = make_connector("mine", "demo", account="two")
    assert (await chooser.refusal("https://one.blob.dev.invalid/demo", mine)).reason is Reason.RESOURCE_DENIED
    _, _, container = await chooser.choose("https://two.blob.dev.invalid/demo", mine)
    assert container.account == "two"


async def test_what_memory_knows_asks_nobody(chooser: Chooser) -> None:
    """The short way gives what the long one would; nothing where there are several, or another host was meant."""
    mine, wide, lost = make_connector("mine", "demo", account="two"), make_connector(), make_connector(cloud="lost")

    def known(resource: str, *connectors: Connector) -> Choice | None:
        return chooser.chooser.known(connectors, ResourceId.parse(resource))

    demo = (mine, PROFILE, Container("two", "demo", "https://two.blob.dev.invalid/demo"))
    assert known("az://demo", mine) == known("https://two.blob.dev.invalid/demo", mine) == demo
    for other in ("az://models", "https://one.blob.dev.invalid/demo", "https://two.blob.elsewhere.invalid/demo"):
        assert known(other, mine) is None
    assert known("az://demo", mine, wide) is None
    assert known("az://demo", lost) is None
    assert known("az://models", wide) is None
    assert not chooser.cloud.calls
    await chooser.choose("az://models", wide)
    models = (wide, PROFILE, Container("one", "models", "https://one.blob.dev.invalid/models"))
    assert known("az://models", wide) == known("https://one.blob.dev.invalid/models", wide) == models
    assert known("https://one.blob.elsewhere.invalid/models", wide) is None


async def test_a_multi_instance_connector_is_looked_up(chooser: Chooser) -> None:
    """Its container is found where it is."""
    _, _, container = await chooser.choose("az://models", make_connector())
    assert container.url == "https://one.blob.dev.invalid/models"


async def test_a_short_id_of_two_accounts_is_refused(chooser: Chooser) -> None:
    """Within one connector or across two: the error lists both URLs."""
    single = make_connector("single", "demo", account="one")
    other = make_connector("other", "demo", account="two")
    for connectors in ((make_connector(),), (single, other), (single, make_connector())):
        refusal = await chooser.refusal("az://demo", *connectors)
        assert refusal.reason is Reason.RESOURCE_AMBIGUOUS
        urls = "https://one.blob.dev.invalid/demo https://two.blob.dev.invalid/demo"
        assert refusal.metadata["candidates"] == urls


@pytest.mark.parametrize("url", ["https://two.blob.dev.invalid/demo", "abfss://demo@two.dfs.dev.invalid"])
async def test_a_full_url_is_not_ambiguous(chooser: Chooser, url: str) -> None:
    """What the error tells callers to do works."""
    _, _, container = await chooser.choose(url, make_connector())
    assert container.account == "two"


async def test_of_two_ways_the_narrower_is_taken_then_the_first_by_name(chooser: Chooser) -> None:
    """The choice does not hang on the order in which connectors come."""
    wide, wider = make_connector("a-wide"), make_connector("b-wide")
    narrow, narrower = make_connector("y-narrow", "models", account="one"), make_connector("z", "models", account="one")
    for connectors in ((wide, wider, narrower, narrow), (narrow, narrower, wider, wide)):
        connector, _, _ = await chooser.choose("az://models", *connectors)
        assert connector is narrow
    for first, second in ((wide, wider), (wider, wide)):
        connector, _, _ = await chooser.choose("az://models", first, second)
        assert connector is wide


@pytest.mark.parametrize(
    "url",
    [
        "https://one.blob.elsewhere.invalid/models",
        "abfss://models@one.dfs.elsewhere.invalid",
        "https://one.blob.core.windows.net/models",
        "https://127.0.0.1:10000/one/models",
        "https://evil.blob.evil.example/models",
    ],
)
async def test_a_url_of_another_cloud_is_refused(chooser: Chooser, url: str) -> None:
    """A container of the same name in the broker's own cloud is not what the caller named."""
    # The error names the host, which is why nothing answers.
    meant = url.replace("abfss://models@one.dfs.", "https://one.blob.").removesuffix("/models") + "/models"
    refusal = await chooser.refusal(url, make_connector())
    assert refusal.reason is Reason.RESOURCE_NOT_FOUND
    assert meant in refusal.message
    refusal = await chooser.refusal(url, make_connector("mine", "models", account="one"))
    assert refusal.reason is Reason.RESOURCE_DENIED
    assert meant in refusal.message
    assert refusal.metadata == {"resource": meant}


async def test_clouds_are_told_apart(chooser: Chooser) -> None:
    """Two connectors to accounts of one name in two clouds serve their own URLs."""
    here = make_connector("here", "models", account="one")
    there = make_connector("there", "models", account="one", cloud="elsewhere")
    connector, profile, _ = await chooser.choose("https://one.blob.elsewhere.invalid/models", here, there)
    assert (connector, profile.name) == (there, "elsewhere")
    assert (await chooser.refusal("az://models", here, there)).reason is Reason.RESOURCE_AMBIGUOUS


async def test_a_failing_connector_does_not_hide_a_good_one(chooser: Chooser) -> None:
    """One broken secret does not stop callers whose container another connector serves."""
    bad, good = make_connector("bad"), make_connector("good")
    for connectors in ((bad, good), (good, bad)):
        connector, _, _ = await chooser.choose("az://models", *connectors)
        assert connector is good


async def test_a_failure_is_the_answer_where_nothing_was_found(chooser: Chooser) -> None:
    """`Not found` would send people looking in the wrong place."""
    refusal = await chooser.refusal("az://nowhere", make_connector("good"), make_connector("bad"))
    assert refusal.reason is Reason.CLOUD_CREDENTIAL_REJECTED


async def test_what_could_not_be_looked_through_is_told_with_a_way_round(chooser: Chooser) -> None:
    """An account that may not be listed may still have the container, and a full URL needs no listing."""
    chooser.cloud.sick["two"] = BrokerError(Reason.CLOUD_PERMISSION_MISSING, "no list for you")
    refusal = await chooser.refusal("az://nowhere", make_connector())
    assert refusal.reason is Reason.RESOURCE_NOT_FOUND
    assert "(1 could not; the container's full URL asks its account alone)" in refusal.message
    chooser.cloud.sick.clear()
    assert "could not" not in (await chooser.refusal("az://nowhere", make_connector("another"))).message


async def test_nothing_serves_it(chooser: Chooser) -> None:
    """No connector, one for another container, one whose cloud or account is gone: refused, in the caller's words."""
    for connectors in (
        (),
        (make_connector("mine", "models", account="one"),),
        (make_connector("lost", "demo", account="one", cloud="removed"),),
        (make_connector("unpinned", "demo"),),
    ):
        refusal = await chooser.refusal("az://demo", *connectors)
        assert refusal.reason is Reason.RESOURCE_DENIED
        assert "key:caller" in refusal.message
    assert (await chooser.refusal("az://nowhere", make_connector())).reason is Reason.RESOURCE_NOT_FOUND


async def test_what_others_named_in_full_does_not_decide_for_a_short_id(chooser: Chooser) -> None:
    """A caller's full URL, known from then on, sends nobody else to its account: a short id still means both."""
    everywhere = make_connector()
    await chooser.choose("https://two.blob.dev.invalid/demo", everywhere)
    assert chooser.chooser.known([everywhere], ResourceId.parse("https://two.blob.dev.invalid/demo")) is not None
    assert chooser.chooser.known([everywhere], ResourceId.parse("az://demo")) is None
    assert (await chooser.refusal("az://demo", everywhere)).reason is Reason.RESOURCE_AMBIGUOUS


async def test_a_short_id_is_no_guess_where_accounts_cannot_be_looked_for(chooser: Chooser) -> None:
    """Whether somebody named an account before makes no difference to who names none."""
    chooser.cloud.fail("find_accounts", Reason.CLOUD_PERMISSION_MISSING)
    everywhere = make_connector()
    await chooser.choose("https://two.blob.dev.invalid/demo", everywhere)
    assert (await chooser.refusal("az://demo", everywhere)).reason is Reason.CLOUD_PERMISSION_MISSING
