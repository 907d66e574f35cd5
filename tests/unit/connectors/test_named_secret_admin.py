"""NamedSecretAdmin: a named secret is checked before it is stored, and tried with all its users before it changes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from support.core import CLIENT, NOW, PLANTED, PROFILE, PROFILES, TENANT, FakeClock, Replica, make_grant, principal
from support.entra_certificates import make_certificate
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.connector_draft import NewConnector
from valetkey_broker.connectors.named_secret_admin import ChangedSecret, NamedSecretAdmin, NewSecret, SecretChange
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.errors import BrokerError, Reason, vault_unavailable
from valetkey_broker.model import (
    BLOB_CONTAINER,
    AzureConfig,
    Connector,
    ConnectorType,
    InvalidFieldError,
    NamedSecret,
    Role,
    Secret,
)

_OTHER = "99999999-9999-4999-8999-999999999999"
_NEW = "NEW-PLANTED~client-secret.value"
_KEY = "QUFB" * 21 + "QQ=="
_NOTHING = AzureConfig("", "", "")


class Secrets:
    """Both registries on one replica, and a cloud that lets in by PLANTED and by _NEW."""

    def __init__(self) -> None:
        self.cloud = FakeCloud({"one": ["demo", "models"], "two": ["demo"]}, profile=PROFILE, secrets=[PLANTED, _NEW])
        self.replica = Replica()
        repository, memory = self.replica.repository, self.replica.memory
        self.connectors = ConnectorAdmin(
            repository=repository,
            memory=memory,
            cloud=self.cloud,
            reach=ReachCache(CloudClient(self.cloud, repository.credential, 0.5), FakeClock(), 300),
            auth_methods=AUTH_METHODS,
            signing_keys=lambda _connector: (),
            profiles=PROFILES,
            default_cloud="dev",
            clock=FakeClock(),
            ledger=FakeLedger(),
            timeout_seconds=0.5,
        )
        self.admin = NamedSecretAdmin(repository, memory, self.connectors, AUTH_METHODS, FakeClock())
        self.dropped: list[tuple[str, object]] = []
        """Whose keys were dropped, and which value the connector had at that moment."""
        self.drop_error: Exception | None = None

    async def create(
        self, name: str = "az_secret", *, value: str = PLANTED, account: str = "", verify: bool = False
    ) -> NamedSecret:
        new = NewSecret(
            name,
            ConnectorType.AZURE,
            "service-principal",
            AzureConfig(TENANT, CLIENT, "", storage_account=account),
            {"client_secret": Secret(value)},
            verify,
        )
        return await self.admin.create(new, created_by="key:ops")

    async def share(
        self,
        name: str = "azure-blob-demo",
        resource_id: str = "",
        azure: AzureConfig = _NOTHING,
        auth_method: str = "",
        secrets: Mapping[str, Secret] | None = None,
    ) -> Connector:
        new = NewConnector(
            name,
            ConnectorType.AZURE,
            auth_method,
            BLOB_CONTAINER,
            resource_id,
            azure,
            secrets or {},
            authentication_secret="az_secret",
        )
        connector, _ = await self.connectors.create(new, created_by="key:ops")
        return connector

    async def update(
        self,
        *,
        auth_method: str = "",
        azure: AzureConfig = _NOTHING,
        remove: Sequence[str] = (),
        no_verify: bool = False,
        role: Role = Role.OPERATOR,
        **secrets: str,
    ) -> ChangedSecret:
        given = {name: Secret(value) for name, value in secrets.items()}
        change = SecretChange("az_secret", auth_method, azure, given, remove, no_verify)
        return await self.admin.update(change, principal(role, name="key:later"), self.drop_keys)

    async def drop_keys(self, name: str) -> None:
        self.dropped.append((name, await self.value(name)))
        if self.drop_error is not None:
            raise self.drop_error

    async def value(self, name: str = "azure-blob-demo") -> object:
        return (await self.replica.repository.credential(self.replica.memory.connectors[name])).value


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


async def test_a_secret_is_checked_and_stored_without_asking_the_cloud(secrets: Secrets) -> None:
    """What is malformed is refused at once; whether it logs in, only `verify` asks."""
    stored = await secrets.create(value="unknown to the cloud")
    assert (stored.auth_method, stored.azure.cloud, stored.secret_fields) == (
        "service-principal",
        "dev",
        ("client_secret",),
    )
    assert secrets.admin.get("az_secret") == stored
    assert not secrets.cloud.calls
    with pytest.raises(InvalidFieldError, match="client_secret"):
        await secrets.create("another", value="")
    with pytest.raises(BrokerError) as caught:
        await secrets.create("another", value="unknown to the cloud", verify=True)
    assert caught.value.reason is Reason.CLOUD_CREDENTIAL_REJECTED
    assert [secret.name for secret in secrets.admin.all()] == ["az_secret"]


@pytest.mark.parametrize("name", ["az_secret_", "_az", "AZ", "a/b", "..", "a" * 64, ""])
async def test_a_name_that_could_be_a_path_is_refused(secrets: Secrets, name: str) -> None:
    """Names of secrets become paths in Vault."""
    with pytest.raises(InvalidFieldError, match="name"):
        await secrets.create(name)


async def test_a_connector_that_uses_a_secret_is_verified_with_it(secrets: Secrets) -> None:
    """It reaches what the secret leads to; what it says itself narrows that down, or repeats it."""
    await secrets.create()
    connector = await secrets.share(resource_id="az://models", auth_method="service-principal")
    assert str(connector.resource) == "az://models"
    assert connector.azure == AzureConfig(TENANT, CLIENT, "dev")
    assert await secrets.value() == ClientSecret(Secret(PLANTED))
    narrowed = await secrets.share("narrowed", azure=AzureConfig(TENANT, "", "dev", storage_account="two"))
    assert narrowed.azure == AzureConfig(TENANT, CLIENT, "dev", storage_account="two")
    assert narrowed.own_azure == AzureConfig("", "", "", storage_account="two")
    assert secrets.admin.users(secrets.admin.get("az_secret")) == ["azure-blob-demo", "narrowed"]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("auth_method", {"auth_method": "account-key"}),
        ("client_secret", {"secrets": {"client_secret": Secret("x")}}),
        ("tenant_id", {"azure": AzureConfig(_OTHER, "", "")}),
        ("cloud", {"azure": AzureConfig("", "", "elsewhere")}),
        ("storage_account", {"azure": AzureConfig("", "", "", storage_account="two")}),
        ("resource_id", {"resource_id": "https://two.blob.dev.invalid/demo"}),
    ],
)
async def test_what_contradicts_the_secret_is_refused(secrets: Secrets, field: str, wrong: dict[str, object]) -> None:
    """A connector cannot point a shared credential elsewhere."""
    await secrets.create(account="one")
    with pytest.raises(InvalidFieldError) as caught:
        await secrets.share(**wrong)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert secrets.connectors.all() == []


async def test_a_secret_that_is_not_there(secrets: Secrets) -> None:
    """The error names it, and how to see those there are."""
    with pytest.raises(BrokerError, match="valetkey secret list") as caught:
        await secrets.share()
    assert caught.value.reason is Reason.SECRET_NOT_FOUND


async def test_an_update_is_verified_with_every_user_first(secrets: Secrets) -> None:
    """Both work with the new value, and say so; what they are called by does not change."""
    await secrets.create()
    before = [await secrets.share(name) for name in ("one-user", "other-user")]
    changed = await secrets.update(client_secret=_NEW)
    assert changed.verified == ["one-user", "other-user"]
    assert (changed.secret.credential_version, changed.secret.updated_by) == (2, "key:later")
    assert [each.uid for each in secrets.connectors.all()] == [each.uid for each in before]
    assert await secrets.value("other-user") == ClientSecret(Secret(_NEW))


async def test_an_update_that_fails_for_one_user_changes_nothing(secrets: Secrets) -> None:
    """The error names the connector, and why; tried under another uid, so that serving goes on undisturbed."""
    await secrets.create()
    good = await secrets.share("good")
    await secrets.share("pinned", resource_id="az://models")
    secrets.cloud.containers["one"].remove("models")
    with pytest.raises(BrokerError, match=r"nothing was changed.*for connector pinned") as caught:
        await secrets.update(client_secret=_NEW)
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND
    assert secrets.admin.get("az_secret").credential_version == 1
    assert await secrets.value("good") == ClientSecret(Secret(PLANTED))
    with pytest.raises(BrokerError, match=r"for connector good.*nor does it for pinned"):
        await secrets.update(client_secret="refused by the cloud")
    assert good.uid not in secrets.cloud.forgotten, "it serves on undisturbed"


async def test_an_update_without_verifying(secrets: Secrets) -> None:
    """Where Azure is not to be asked, the value is switched as it is."""
    await secrets.create()
    await secrets.share()
    secrets.cloud.calls.clear()
    changed = await secrets.update(client_secret="not known yet", no_verify=True)
    assert (changed.verified, changed.secret.credential_version) == ((), 2)
    assert not secrets.cloud.calls


async def test_what_an_update_does_not_name_stays(secrets: Secrets) -> None:
    """Tenant, account and value, each by itself; and what is to be removed goes."""
    await secrets.create(account="one")
    await secrets.share()
    changed = await secrets.update(azure=AzureConfig(_OTHER, "", ""))
    assert changed.secret.azure == AzureConfig(_OTHER, CLIENT, "dev", storage_account="one")
    assert await secrets.value() == ClientSecret(Secret(PLANTED))
    changed = await secrets.update(client_secret=_NEW, remove=["storage_account"])
    assert changed.secret.azure == AzureConfig(_OTHER, CLIENT, "dev")
    with pytest.raises(InvalidFieldError, match="remove_fields"):
        await secrets.update(remove=["account_key"])
    with pytest.raises(InvalidFieldError, match="subscription_id"):
        await secrets.update(azure=AzureConfig("", "", "", subscription_id=_OTHER))


async def test_a_stored_secret_is_sent_to_no_other_cloud(secrets: Secrets) -> None:
    """Whoever may change a secret does not have it by that."""
    await secrets.create()
    with pytest.raises(InvalidFieldError, match="cloud"):
        await secrets.update(azure=AzureConfig("", "", "elsewhere"))
    changed = await secrets.update(azure=AzureConfig("", "", "elsewhere"), client_secret=_NEW)
    assert changed.secret.azure.cloud == "elsewhere"


async def test_only_an_admin_leads_granted_connectors_elsewhere(secrets: Secrets) -> None:
    """A grant names connectors and containers: behind another account of the secret it gives what nobody granted."""
    await secrets.create(account="one")
    connector = await secrets.share()
    await secrets.replica.repository.create_grant(make_grant("training", connector))
    elsewhere = AzureConfig("", "", "", storage_account="two")
    with pytest.raises(BrokerError, match="training") as caught:
        await secrets.update(azure=elsewhere)
    assert caught.value.reason is Reason.ROLE_REQUIRED
    assert secrets.admin.get("az_secret").azure.storage_account == "one"
    await secrets.update(client_secret=_NEW)
    changed = await secrets.update(azure=elsewhere, role=Role.ADMIN)
    assert changed.verified == [connector.name]


async def test_an_update_to_another_auth_method(secrets: Secrets) -> None:
    """Nothing is left of the one before; its value alone would not do."""
    await secrets.create(account="one")
    changed = await secrets.update(auth_method="account-key", account_key=_KEY, no_verify=True)
    assert changed.secret.azure == AzureConfig("", "", "dev", storage_account="one")
    assert (changed.secret.auth_method, changed.secret.secret_fields) == ("account-key", ("account_key",))
    with pytest.raises(InvalidFieldError, match=r"tenant_id|client_secret"):
        await secrets.update(auth_method="service-principal")


async def test_keys_that_were_revoked_with_the_old_secret_are_dropped_before_it_is_changed(secrets: Secrets) -> None:
    """An update that fails changed nothing of the secret: who tries it again has the keys dropped, too."""
    await secrets.create()
    connector = await secrets.share(resource_id="az://models")
    secrets.cloud.revoked_at = FakeClock()()
    secrets.drop_error = vault_unavailable("away", "sealed")
    with pytest.raises(BrokerError) as caught:
        await secrets.update(client_secret=_NEW)
    assert caught.value is secrets.drop_error
    assert secrets.admin.get("az_secret").credential_version == 1
    secrets.drop_error = None
    changed = await secrets.update(client_secret=_NEW)
    assert (changed.secret.credential_version, changed.verified) == (2, [connector.name])
    assert secrets.dropped == [(connector.name, ClientSecret(Secret(PLANTED)))] * 2


async def test_rename_and_delete(secrets: Secrets) -> None:
    """The connector shows the new name, and protects the secret under it."""
    await secrets.create()
    await secrets.share()
    await secrets.admin.rename("az_secret", "az_new", renamed_by="key:ops")
    assert secrets.connectors.get("azure-blob-demo").secret == "az_new"
    with pytest.raises(BrokerError, match="azure-blob-demo") as caught:
        await secrets.admin.delete("az_new", deleted_by="key:ops")
    assert caught.value.reason is Reason.SECRET_IN_USE
    with pytest.raises(InvalidFieldError, match="new_name"):
        await secrets.admin.rename("az_new", "az_new", renamed_by="key:ops")
    await secrets.connectors.delete("azure-blob-demo", deleted_by="key:ops")
    await secrets.admin.delete("az_new", deleted_by="key:ops")
    assert secrets.admin.all() == []


async def test_the_end_of_a_value(secrets: Secrets) -> None:
    """What an operator notes stays until there is another value; a new one has no end unless one is said."""
    said, later = (datetime.fromtimestamp(NOW + days * 86400, UTC) for days in (10, 20))
    new = NewSecret(
        "az_secret",
        ConnectorType.AZURE,
        "service-principal",
        AzureConfig(TENANT, CLIENT, ""),
        {"client_secret": Secret(PLANTED)},
    )
    created = await secrets.admin.create(replace(new, expires_at=said), created_by="key:ops")
    assert created.expires_at == said

    async def changed(**values: Any) -> datetime | None:
        change = SecretChange("az_secret", "", _NOTHING, values.pop("secrets", {}), no_verify=True, **values)
        return (await secrets.admin.update(change, principal(Role.ADMIN), secrets.drop_keys)).secret.expires_at

    assert await changed(remove=["storage_account"]) == said
    assert await changed(expires_at=later) == later
    late = Replica(secrets.replica.store)
    await late.repository.load()
    assert late.memory.secrets["az_secret"].expires_at == later
    assert await changed(secrets={"client_secret": Secret(_NEW)}) is None
    with pytest.raises(InvalidFieldError, match="expire_time"):
        await changed(expires_at=datetime.fromtimestamp(NOW - 1, UTC))


async def test_a_certificate_in_a_secret_tells_its_end(secrets: Secrets) -> None:
    """Nobody has to note what the certificate says; what ends earlier counts."""
    made = make_certificate()
    new = NewSecret(
        "az_cert",
        ConnectorType.AZURE,
        "service-principal",
        AzureConfig(TENANT, CLIENT, ""),
        {"client_certificate": Secret(made.pem())},
    )
    created = await secrets.admin.create(new, created_by="key:ops")
    assert created.expires_at == made.certificate.not_valid_after_utc
