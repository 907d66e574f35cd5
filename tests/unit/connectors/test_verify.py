"""Verification: every step is tried, the failing one is named, and one bad account does not spoil the others."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from support.core import NOW, PROFILE, FakeClock, credential_of, make_connector
from support.fake_cloud import FakeCloud
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.reach_result import Reach, own_container
from valetkey_broker.connectors.verify import pinned, verify
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Check, CheckOutcome, Connector, Container, Credential, ResourceId, SigningKey
from valetkey_broker.model.account_settings import AccountSettings, PolicyAction


class PartlyClosedCloud(FakeCloud):
    """A cloud in which some accounts list, and give no delegation key."""

    closed_accounts: tuple[str, ...] = ()
    error: Exception = BrokerError(Reason.CLOUD_PERMISSION_MISSING, "no key for you")

    async def signing_key(
        self, connector: Connector, credential: Credential, account: str, *, starts: float, expires: float
    ) -> SigningKey:
        if account in self.closed_accounts:
            raise self.error
        return await super().signing_key(connector, credential, account, starts=starts, expires=expires)


def _cloud(*closed: str) -> PartlyClosedCloud:
    cloud = PartlyClosedCloud({"one": ["demo", "models"], "two": ["demo"]}, profile=PROFILE)
    cloud.closed_accounts = closed
    return cloud


async def _verify(cloud: FakeCloud, connector: Connector) -> Reach:
    return (await verify(CloudClient(cloud, credential_of, 1), FakeClock(), connector)).reach


def _urls(reach: Reach) -> list[str]:
    return [container.url for container in reach.containers]


async def test_all_steps_are_taken() -> None:
    """A connector is proved by a log-in, a listing and one delegation key an account."""
    cloud = _cloud()
    containers = await _verify(cloud, make_connector())
    assert _urls(containers) == [
        "https://one.blob.dev.invalid/demo",
        "https://one.blob.dev.invalid/models",
        "https://two.blob.dev.invalid/demo",
    ]
    asked = {"log_in": 1, "find_accounts": 1, "list_containers": 2, "signing_key": 2, "accepts": 2}
    assert cloud.calls == {**asked, "account_settings": 1}
    assert all(key.starts < NOW < key.expires for key in cloud.keys)


@pytest.mark.parametrize("step", ["log_in", "list_containers", "signing_key"])
async def test_the_first_failing_step_is_the_error(step: str) -> None:
    """What Azure said at that step reaches the operator unchanged."""
    cloud = _cloud()
    cloud.fail(step, Reason.CLOUD_PERMISSION_MISSING)  # type: ignore[arg-type]
    with pytest.raises(BrokerError) as caught:
        await _verify(cloud, make_connector())
    assert caught.value.metadata["step"] == step
    assert caught.value.metadata["azure_code"] == "FakeFailure"


async def test_an_account_without_keys_is_left_out() -> None:
    """What lists and cannot be signed for is not shown as reached."""
    assert _urls(await _verify(_cloud("one"), make_connector())) == ["https://two.blob.dev.invalid/demo"]


async def test_no_account_with_keys_is_an_error() -> None:
    """A connector that can sign nothing is no connector."""
    with pytest.raises(BrokerError, match="no key for you"):
        await _verify(_cloud("one", "two"), make_connector())


async def test_an_unforeseen_failure_is_not_swallowed() -> None:
    """A bug in one account's step is not taken for a missing permission."""
    cloud = _cloud("one")
    cloud.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await _verify(cloud, make_connector())


async def test_an_empty_account_is_asked_for_a_key_all_the_same() -> None:
    """A fresh account without containers is proved before the first container comes."""
    cloud = FakeCloud({"empty": []})
    assert (await _verify(cloud, make_connector(storage_account="empty"))).containers == []
    assert cloud.calls["signing_key"] == 1


async def test_nothing_reached_is_no_failure_for_a_multi_instance_connector() -> None:
    """A service principal that reaches nothing yet may be registered; what it reaches is shown, which is nothing."""
    assert (await _verify(FakeCloud(), make_connector())).containers == []


def _container(account: str, name: str) -> Container:
    return Container(account, name, f"https://{account}.blob.dev.invalid/{name}")


def _own(connector: Connector, containers: list[Container], *, name_others: bool = False) -> Container:
    return own_container(connector, Reach(containers), name_others=name_others)


def test_a_single_instance_connector_serves_its_own_only() -> None:
    """Also where another account has a container of the same name."""
    both = [_container("one", "demo"), _container("two", "demo"), _container("two", "models")]
    assert _own(make_connector(resource="demo", account="two"), both) == both[1]
    assert _own(make_connector(resource="models"), both) == both[2]


def test_a_short_id_of_two_accounts_is_ambiguous() -> None:
    """The error lists both, so that the operator can choose; nothing is guessed."""
    both = [_container("two", "demo"), _container("one", "demo")]
    with pytest.raises(BrokerError, match="give the full URL") as caught:
        _own(make_connector(resource="demo"), both)
    assert caught.value.reason is Reason.RESOURCE_AMBIGUOUS
    assert caught.value.metadata["candidates"] == "https://one.blob.dev.invalid/demo https://two.blob.dev.invalid/demo"


@pytest.mark.parametrize(
    ("reached", "words"),
    [(0, "it reaches no container"), (2, "it reaches az://c-0, az://c-1"), (5, "az://c-4"), (9, "az://c-4, …")],
)
def test_a_container_that_is_not_reached_is_told_with_those_that_are(reached: int, words: str) -> None:
    """A typing error shows at once, and a long list does not bury it."""
    with pytest.raises(BrokerError) as caught:
        _own(make_connector(resource="demo"), [_container("one", f"c-{n}") for n in range(reached)], name_others=True)
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND
    assert caught.value.message.endswith(words)


def test_others_are_not_named_unless_asked_for() -> None:
    """What consumers may come to see names only what the connector is for."""
    with pytest.raises(BrokerError) as caught:
        _own(make_connector(resource="demo"), [_container("one", "board-minutes")])
    assert caught.value.message == "connector azure-blob-demo does not reach az://demo"
    assert "board-minutes" not in str(caught.value.metadata)


def _away(account: str) -> BrokerError:
    return BrokerError(Reason.CLOUD_UNAVAILABLE, f"no answer from {account}")


async def test_a_sick_account_does_not_spoil_the_others() -> None:
    """What is known of the healthy one stays, and the error of the other stands beside it."""
    cloud = _cloud()
    cloud.sick["one"] = _away("one")
    reach = await _verify(cloud, make_connector())
    assert _urls(reach) == ["https://two.blob.dev.invalid/demo"]
    assert [(each.account, each.error.reason) for each in reach.errors] == [("one", Reason.CLOUD_UNAVAILABLE)]


async def test_an_own_container_is_proved_without_any_listing() -> None:
    """Rights on that container, and to get a key, are enough: the account of the container is known."""
    cloud = _cloud()
    cloud.unlistable = {"one", "two"}
    cloud.sick["two"] = _away("two")
    for connector in (
        make_connector(resource="models", account="one"),
        make_connector(resource="models", storage_account="one"),
    ):
        cloud.calls.clear()
        assert _urls(await _verify(cloud, connector)) == ["https://one.blob.dev.invalid/models"]
        assert cloud.calls == {"log_in": 1, "check_container": 1, "signing_key": 1, "accepts": 1, "account_settings": 1}


async def test_a_missing_own_container_may_be_in_an_account_that_is_away() -> None:
    """A passing error never becomes `not found`."""
    cloud = _cloud()
    cloud.sick["one"] = _away("one")
    with pytest.raises(BrokerError) as caught:
        await _verify(cloud, make_connector(resource="models"))
    assert caught.value.reason is Reason.CLOUD_UNAVAILABLE


def test_a_pinned_connector_knows_its_account() -> None:
    """A container that turns up later in another account changes nothing."""
    connector = pinned(make_connector(resource="demo"), _container("one", "demo"))
    assert connector.resource == ResourceId("demo", account="one")


def _lines(checks: Sequence[Check]) -> list[tuple[str, str, str]]:
    return [(check.step, check.account, check.outcome.value) for check in checks]


async def test_the_checklist_of_a_connector_that_works() -> None:
    """Each step has a line, in order, with the account that it is about."""
    proof = await verify(CloudClient(_cloud(), credential_of, 1), FakeClock(), make_connector())
    assert _lines(proof.checks) == [
        ("log in", "", "ok"),
        ("find storage accounts", "", "ok"),
        ("list containers", "one", "ok"),
        ("list containers", "two", "ok"),
        ("get a signing key", "one", "ok"),
        ("get a signing key", "two", "ok"),
        ("use a token", "one", "ok"),
        ("use a token", "two", "ok"),
        ("compare clocks", "", "ok"),
        ("look at the account's settings", "one", "not tried"),
        ("look at the account's settings", "two", "not tried"),
    ]
    assert [check.message for check in proof.checks[1:4]] == ["2 found", "2 found", "1 found"]


async def test_what_a_failure_left_untried_is_told() -> None:
    """The error has the lines: what held, what failed and how to mend it, and what was not come to."""
    cloud = _cloud()
    error = BrokerError(Reason.CLOUD_PERMISSION_MISSING, "No key: assign X.", mend="assign X.\naz role …")
    cloud.fail("signing_key", error)
    with pytest.raises(BrokerError) as caught:
        await verify(CloudClient(cloud, credential_of, 1), FakeClock(), make_connector(resource="demo", account="one"))
    checks = caught.value.checks
    assert _lines(checks) == [
        ("log in", "", "ok"),
        ("look at the container", "one", "ok"),
        ("get a signing key", "one", "failed"),
        ("use a token", "", "not tried"),
        ("compare clocks", "", "ok"),
        ("look at the account's settings", "one", "not tried"),
    ]
    assert (checks[2].message, checks[2].mend) == ("No key", "assign X.\naz role …")
    assert checks[3].message == "`get a signing key` failed"


async def test_a_sick_account_has_its_line_beside_the_others() -> None:
    """A connector that works in part says so, and what is wrong with the rest."""
    proof = await verify(CloudClient(_cloud("one"), credential_of, 1), FakeClock(), make_connector())
    (failed,) = [check for check in proof.checks if check.outcome is CheckOutcome.FAILED]
    assert (failed.step, failed.account, failed.message) == ("get a signing key", "one", "no key for you")


async def test_a_credential_that_ends_soon_is_a_warning() -> None:
    """A cron that verifies hears a month ahead that a credential ends, while all still works."""
    for days, outcome in ((31, CheckOutcome.OK), (1, CheckOutcome.WARNING)):
        ends = datetime.fromtimestamp(NOW + days * 24 * 3600 + 60, UTC)
        connector = replace(make_connector(), expires_at=ends)
        proof = await verify(CloudClient(_cloud(), credential_of, 1), FakeClock(), connector)
        assert proof.checks[0].outcome is outcome
        assert ("ends on" in proof.checks[0].message) is (outcome is CheckOutcome.WARNING)


@pytest.mark.parametrize(
    ("skew", "outcome", "words"),
    [
        (None, "not tried", "no answer"),
        (59.0, "ok", "less than a minute"),
        (61.0, "warning", "61 s ahead of"),
        (-300.0, "warning", "300 s behind"),
        (1000.0, "failed", "1000 s ahead of"),
    ],
)
async def test_a_clock_that_is_off_is_told(skew: float | None, outcome: str, words: str) -> None:
    """Tokens begin and end by the broker's clock, and Azure holds them to its own."""
    cloud = _cloud()
    cloud.skew = skew
    proof = await verify(CloudClient(cloud, credential_of, 1), FakeClock(), make_connector())
    (line,) = [check for check in proof.checks if check.step == "compare clocks"]
    assert (line.outcome.value, words in line.message) == (outcome, True)


BLOCK, LOG = PolicyAction.BLOCK, PolicyAction.LOG


@pytest.mark.parametrize(
    ("settings", "outcome", "message", "mend"),
    [
        (AccountSettings(), "ok", "", ""),
        (AccountSettings(user_bound=BLOCK), "failed", "refuses user delegation SAS", "requireUserBound"),
        (AccountSettings(user_bound=LOG), "warning", "logs user delegation SAS", "requireUserBound"),
        (AccountSettings(longest_sas=900, longest_sas_action=BLOCK), "failed", "refuses all of ours", "az storage"),
        (
            AccountSettings(longest_sas=4500, longest_sas_action=BLOCK),
            "warning",
            "longer than 3600 s",
            "--max-ttl 3600s",
        ),
        (AccountSettings(longest_sas=4500), "warning", "logs tokens that live longer", "max_ttl_seconds = 3600"),
        (AccountSettings(longest_sas=5000), "ok", "", ""),
        (AccountSettings(hierarchical_namespace=False), "ok", "no hierarchical namespace", ""),
        (AccountSettings(shared_key_access=False), "ok", "shared key access is off", ""),
        (AccountSettings(public_network=False), "ok", "private endpoints only", ""),
        (AccountSettings(only_named_networks=True), "ok", "its firewall names", ""),
    ],
)
async def test_what_an_accounts_settings_mean(settings: AccountSettings, outcome: str, message: str, mend: str) -> None:
    """What would be a bare 403 later is told beforehand, with what to do."""
    cloud = _cloud()
    cloud.settings["one"] = settings
    connector = make_connector(resource="demo", account="one")
    proof = await verify(CloudClient(cloud, credential_of, 1), FakeClock(), connector, longest_token=5000)
    line = proof.checks[-1]
    assert (line.step, line.account, line.outcome.value) == ("look at the account's settings", "one", outcome)
    assert message in line.message
    assert (mend in line.mend) if mend else line.mend == ""


async def test_settings_that_cannot_be_seen_break_nothing() -> None:
    """Reader on the account is a comfort, not a need."""
    cloud = _cloud()
    cloud.fail("account_settings", Reason.CLOUD_PERMISSION_MISSING)
    proof = await verify(CloudClient(cloud, credential_of, 1), FakeClock(), make_connector())
    assert proof.checks[-1].outcome is CheckOutcome.NOT_TRIED
    assert "the fake fails account_settings" in proof.checks[-1].message
    cloud.fail("account_settings", Reason.INVALID_FIELD)
    proof = await verify(CloudClient(cloud, credential_of, 1), FakeClock(), make_connector())
    assert proof.checks[-1].message.startswith("this connector cannot ask Azure Resource Manager")
