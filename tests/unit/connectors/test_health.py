"""Connectors turn unhealthy when their cloud refuses the credential, once in the log, and healthy at a success."""

from collections.abc import Awaitable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from support.core import NOW, PROFILE, FakeClock, credential_of, make_connector
from support.fake_cloud import FakeCloud
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.connector_health import ConnectorHealth
from valetkey_broker.errors import BrokerError, Reason, cloud_error
from valetkey_broker.model import Connector
from valetkey_broker.model.connector_health import Health

CONNECTOR = make_connector()
KEY = make_connector("by-key", storage_account="acc")
BY_KEY = replace(KEY, auth_method="account-key")


class Followed:
    """A health that hears what a fake cloud answers."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.health = ConnectorHealth(AUTH_METHODS, self.clock)
        self.cloud = FakeCloud({"acc": ["demo"]}, profile=PROFILE)
        self.questions = CloudClient(self.cloud, credential_of, 20, self.health)

    async def key(self, connector: Connector = CONNECTOR) -> None:
        await self.questions.signing_key(connector, "acc", starts=NOW, expires=NOW + 60)

    async def refused(self, question: Awaitable[object]) -> None:
        with pytest.raises(BrokerError):
            await question

    def refuse(
        self, step: str = "signing_key", reason: Reason = Reason.CLOUD_CREDENTIAL_REJECTED, code: str = ""
    ) -> None:
        error = cloud_error(reason, "refused", step=step, connector="c", azure_code=code, mend="see Entra")
        self.cloud.fail(step, error)


@pytest.fixture
def followed() -> Followed:
    return Followed()


async def test_a_refusal_and_the_first_success_after_it(followed: Followed) -> None:
    """Since when, why, and the command that mends it; one error however often it is asked, one when it ends."""
    assert followed.health.of(CONNECTOR) is None
    followed.refuse(code="AADSTS7000222")
    with capture_logs() as logs:
        for _ in range(3):
            await followed.refused(followed.key())
            followed.clock.now += 60
        unhealthy = followed.health.of(CONNECTOR)
        followed.cloud.heal()
        await followed.key()
    mend = "valetkey service-connector rotate azure-blob-demo --client-secret @FILE"
    assert unhealthy == Health(
        healthy=False, since=NOW, reason="CLOUD_CREDENTIAL_REJECTED", message="refused", mend=mend
    )
    assert followed.health.of(CONNECTOR) == Health(healthy=True, since=NOW + 180)
    assert [(line["log_level"], line["connector"]) for line in logs] == [
        ("error", "azure-blob-demo"),
        ("info", "azure-blob-demo"),
    ]
    assert (logs[0]["mend"], logs[0]["azure_code"]) == (mend, "AADSTS7000222")


async def test_going_back_and_forth_is_told_once_an_hour(followed: Followed) -> None:
    """Tokens that outlive their credential, or one of Entra's servers that knows it and one that does not: no flood."""
    with capture_logs() as logs:
        for _ in range(50):
            followed.refuse()
            await followed.refused(followed.key())
            followed.cloud.heal()
            await followed.key()
            followed.clock.now += 30
        assert [line["log_level"] for line in logs] == ["error", "info"]
        followed.clock.now += 3600
        followed.refuse()
        await followed.refused(followed.key())
    assert [line["log_level"] for line in logs] == ["error", "info", "error"]


@pytest.mark.parametrize("reason", [Reason.CLOUD_UNAVAILABLE, Reason.CLOUD_THROTTLED, Reason.CLOUD_PERMISSION_MISSING])
async def test_what_says_nothing_of_the_credential(followed: Followed, reason: Reason) -> None:
    """A cloud that is away, or a right that is missing, makes no credential bad, and none good."""
    followed.refuse(reason=reason)
    await followed.refused(followed.key())
    assert followed.health.of(CONNECTOR) is None
    followed.refuse()
    await followed.refused(followed.key())
    followed.refuse(reason=reason)
    await followed.refused(followed.key())
    unhealthy = followed.health.of(CONNECTOR)
    assert unhealthy is not None
    assert not unhealthy.healthy


async def test_what_is_not_asked_with_the_credential_proves_nothing(followed: Followed) -> None:
    """An account key at hand signs, good or not; an account that is named is not looked for."""
    await followed.key(BY_KEY)
    await followed.questions.accounts(BY_KEY)
    assert followed.health.of(BY_KEY) is None
    followed.refuse("list_containers")
    await followed.refused(followed.questions.containers(BY_KEY, "acc"))
    await followed.key(BY_KEY)
    unhealthy = followed.health.of(BY_KEY)
    assert unhealthy is not None
    assert unhealthy.mend == "valetkey service-connector rotate by-key --account-key @FILE"
    followed.cloud.heal()
    await followed.questions.containers(BY_KEY, "acc")
    assert followed.health.of(BY_KEY) == Health(healthy=True, since=NOW)


async def test_a_new_credential_begins_anew(followed: Followed) -> None:
    """What was heard of the old one says nothing of it, whoever gave it."""
    followed.refuse()
    await followed.refused(followed.key())
    renewed = replace(CONNECTOR, credential_version=2)
    assert followed.health.of(renewed) is None
    with capture_logs() as logs:
        await followed.refused(followed.key(renewed))
    assert [line["log_level"] for line in logs] == ["error"], "another credential is another matter"


@pytest.mark.parametrize(
    ("connector", "code", "mend"),
    [
        (CONNECTOR, "AADSTS700027", "valetkey service-connector rotate azure-blob-demo --client-certificate @FILE"),
        (replace(CONNECTOR, secret="az_team"), "", "valetkey secret rotate az_team --client-secret @FILE"),
        (
            replace(BY_KEY, auth_method="connection-string"),
            "",
            "valetkey service-connector rotate by-key --connection-string @FILE",
        ),
        (replace(CONNECTOR, auth_method="implicit"), "", "see Entra"),
    ],
    ids=["certificate", "named secret", "connection string", "no secret of ours"],
)
async def test_the_command_that_mends_it(followed: Followed, connector: Connector, code: str, mend: str) -> None:
    """It fits what the connector logs in with; where there is nothing to give, the cloud's own advice stands."""
    followed.refuse("log_in", code=code)
    await followed.refused(followed.questions.log_in(connector))
    heard = followed.health.of(connector)
    assert heard is not None
    assert heard.mend == mend
