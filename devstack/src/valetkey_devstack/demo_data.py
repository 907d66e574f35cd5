"""What a fresh stack starts with: an admin key and, if wanted, a demo connector with a consumer's key and grants."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from valetkey_broker.app import Core, open_core
from valetkey_broker.authz.grant_admin import GrantDraft
from valetkey_broker.connectors.connector_draft import NewConnector
from valetkey_broker.model import (
    BLOB_CONTAINER,
    AzureConfig,
    ConnectorType,
    ConsumerRole,
    GrantedConnector,
    ResourceId,
    Secret,
    new_api_key,
)
from valetkey_broker.settings import load_settings
from valetkey_devstack.client_certificate import make_client_certificate
from valetkey_devstack.demo_people import granted_people
from valetkey_devstack.directory_layout import private_directory, write_private
from valetkey_devstack.stack import CLOUD, DevStack

DEMO_CONNECTOR = "azure-blob-demo"
DEMO_ACCOUNT = "demomlstorage"
DEMO_RESOURCE = "az://demo-zenmlartifactstore"
CONSUMER = "key:demo-consumer"
_KEY_LIFE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """Files of secrets, mode 0600."""

    admin_key: Path
    consumer_key: Path
    client_secret: Path
    account_key: Path
    connection_string: Path
    client_certificate: Path
    second_client_secret: Path
    """Written by `add_second_secret`."""


async def add_demo_data(stack: DevStack, *, connector: bool = True) -> SecretFiles:
    """Makes the admin key, and writes files: what proves the service principal, and the key of DEMO_ACCOUNT.

    With `connector`, registers the demo connector, verified as any other, a key for a stack component, and grants on
    the connector's container: for that key, and for the admin's.
    """
    folder = private_directory(stack.directory / "keys")
    names = ("admin", "consumer", "client-secret", "account-key", "connection-string", "client-certificate.pem")
    files = SecretFiles(*(folder / name for name in (*names, "client-secret-2")))
    account_key = stack.azurite.accounts[DEMO_ACCOUNT].reveal()
    # No line breaks, so `register` notes none.
    write_private(files.client_secret, stack.client_secret.reveal())
    write_private(files.account_key, account_key)
    endpoint = stack.azurite.blob_url(DEMO_ACCOUNT)
    write_private(
        files.connection_string,
        f"DefaultEndpointsProtocol=https;AccountName={DEMO_ACCOUNT};AccountKey={account_key};BlobEndpoint={endpoint}",
    )
    certificate, pem = make_client_certificate("valetkey-broker")
    stack.control_plane.add_certificate(certificate)
    write_private(files.client_certificate, pem)
    async with open_core(load_settings(stack.settings_file)) as core:
        await core.store.open()
        await core.repository.load()
        _, admin_key = await core.api_keys.bootstrap("admin", _KEY_LIFE)
        write_private(files.admin_key, admin_key.reveal() + "\n")
        if connector:
            await _register_demo(core, stack)
            await _make_consumer_key(core, files.consumer_key)
            await _grant(core, "demo-training", [CONSUMER], ConsumerRole.STEP_OPERATOR, "A step that runs elsewhere.")
            people = granted_people(stack.control_plane.log_ins)
            await _grant(core, "demo-people", people, ConsumerRole.STEP_OPERATOR, "To try `valetkey login`.")
            # An admin needs a grant like everybody else: running the broker is not reading the data.
            await _grant(core, "demo-admin", ["key:admin"], ConsumerRole.STEP_OPERATOR, "To try the README's commands.")
    return files


def add_second_secret(stack: DevStack, files: SecretFiles) -> None:
    """Makes another secret of the stack's application, for who wants to try a rotation, and writes it to its file."""
    secret = Secret(secrets.token_urlsafe(30))
    stack.control_plane.passwords.add(secret, "by hand")
    write_private(files.second_client_secret, secret.reveal())


async def _register_demo(core: Core, stack: DevStack) -> None:
    new = NewConnector(
        name=DEMO_CONNECTOR,
        type=ConnectorType.AZURE,
        auth_method="service-principal",
        resource_type=BLOB_CONTAINER,
        resource_id=DEMO_RESOURCE,
        azure=AzureConfig(tenant_id=stack.tenant_id, client_id=stack.client_id, cloud=CLOUD),
        secrets={"client_secret": stack.client_secret},
    )
    await core.connector_admin.create(new, created_by="dev")


async def _make_consumer_key(core: Core, file: Path) -> None:
    key = new_api_key().reveal()
    await core.api_keys.create(
        name=CONSUMER.removeprefix("key:"),
        digest=hashlib.sha256(key.encode("ascii")).digest(),
        roles=[],
        expires_at=datetime.now(UTC) + _KEY_LIFE,
        created_by="dev",
    )
    write_private(file, key + "\n")


async def _grant(core: Core, name: str, principals: list[str], role: ConsumerRole, note: str) -> None:
    draft = GrantDraft(
        name=name,
        principals=principals,
        attributes={},
        connectors=[GrantedConnector(DEMO_CONNECTOR, "")],
        containers=[ResourceId.parse(DEMO_RESOURCE).container],
        prefixes=[],
        permissions=[],
        consumer_role=role,
        max_ttl=None,
        source_ip="",
        expires_at=None,
        note=note,
    )
    await core.grants.create(draft, created_by="dev")
