"""SecretService over the wire: one credential for several connectors, on every replica, and for those who may."""

import time

import grpc
import pytest

from support.failed_calls import failure
from support.inproc import (
    ADMIN_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    VIEWER_KEY,
    Broker,
    bearer,
    new_connector,
    running_broker,
)
from support.waiting import eventually
from valetkey.v1 import secret_service_pb2 as pb
from valetkey.v1.token_service_pb2 import IssueTokenRequest, WatchTokenRequest
from valetkey_broker.model import EventFilter, EventKind

_NEW = "NEW~client-secret.value"


def _create(name: str = "az_secret") -> pb.CreateSecretRequest:
    plain = new_connector()
    return pb.CreateSecretRequest(
        name=name,
        type=plain.type,
        auth_method=plain.auth_method,
        azure=plain.azure,
        azure_secret=plain.azure_secret,
    )


def _update() -> pb.UpdateSecretRequest:
    request = pb.UpdateSecretRequest(name="az_secret")
    request.azure_secret.client_secret = _NEW
    return request


async def _shared(broker: Broker) -> None:
    """Stores a secret that two connectors use, one of which `key:trainer` is granted."""
    await broker.secrets.CreateSecret(_create(), metadata=bearer(OPERATOR_KEY))
    for name, resource in (("azure-blob-demo", "az://demo"), ("other", "az://models")):
        request = new_connector(name, resource, authentication_secret="az_secret", storage_account="demoaccount")
        await broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY))
    await broker.allow()


async def test_a_change_reaches_all_connectors_on_every_replica(
    broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without a restart: tokens are signed with the new credential; grants hold, and an open stream goes on."""
    await _shared(broker)
    directory = tmp_path_factory.mktemp("replica")
    async with running_broker(directory, store=broker.store, cloud=broker.cloud) as replica:
        await replica.ready()
        asked = IssueTokenRequest(resource_id="demo", permissions=[1])
        stream = replica.tokens.WatchToken(WatchTokenRequest(request=asked), metadata=bearer(CONSUMER_KEY))
        first = await stream.read()
        assert first.token.credential_version == 1
        answer = await broker.secrets.UpdateSecret(_update(), metadata=bearer(OPERATOR_KEY))
        assert list(answer.verified) == ["azure-blob-demo", "other"]
        assert (answer.secret.credential_version, answer.secret.updated_by) == (2, "key:ops")

        connectors = replica.core.memory.connectors
        await eventually(lambda: {each.credential_version for each in connectors.values()} == {2})
        issued = await replica.tokens.IssueToken(asked, metadata=bearer(CONSUMER_KEY))
        assert issued.credential_version == 2
        assert not stream.done()
        stream.cancel()


async def test_what_may_be_told_of_a_secret(broker: Broker) -> None:
    """Kind, versions, ages and users, to viewers; nothing to consumers, and changes to operators only."""
    await _shared(broker)
    shown = (await broker.secrets.GetSecret(pb.GetSecretRequest(name="az_secret"), metadata=bearer(VIEWER_KEY))).secret
    assert list(shown.secret_fields) == ["client_secret"]
    assert list(shown.connectors) == ["azure-blob-demo", "other"]
    assert (shown.connector_count, shown.meta.created_by) == (2, "key:ops")
    listed = await broker.secrets.ListSecrets(pb.ListSecretsRequest(), metadata=bearer(VIEWER_KEY))
    assert [each.name for each in listed.secrets] == ["az_secret"]
    for call, request in (
        (broker.secrets.GetSecret, pb.GetSecretRequest(name="az_secret")),
        (broker.secrets.ListSecrets, pb.ListSecretsRequest()),
    ):
        denied = await failure(call(request, metadata=bearer(CONSUMER_KEY)))
        assert denied.reason == "ROLE_REQUIRED"
    for call, request in (
        (broker.secrets.CreateSecret, _create()),
        (broker.secrets.UpdateSecret, _update()),
        (broker.secrets.RenameSecret, pb.RenameSecretRequest(name="az_secret", new_name="x")),
        (broker.secrets.DeleteSecret, pb.DeleteSecretRequest(name="az_secret")),
    ):
        denied = await failure(call(request, metadata=bearer(VIEWER_KEY)))
        assert denied.reason == "ROLE_REQUIRED"


async def test_pages_of_secrets(broker: Broker) -> None:
    """Names with underscores page as all others do."""
    for name in ("az_1", "az_2", "az_3"):
        await broker.secrets.CreateSecret(_create(name), metadata=bearer(OPERATOR_KEY))
    first = await broker.secrets.ListSecrets(pb.ListSecretsRequest(page_size=2), metadata=bearer(VIEWER_KEY))
    rest = await broker.secrets.ListSecrets(
        pb.ListSecretsRequest(page_size=2, page_token=first.next_page_token), metadata=bearer(VIEWER_KEY)
    )
    assert [each.name for each in [*first.secrets, *rest.secrets]] == ["az_1", "az_2", "az_3"]


async def test_errors_say_what_is_in_the_way(broker: Broker) -> None:
    """Each reason has its status: a name that is taken or unknown, and a secret that is in use."""
    await _shared(broker)
    taken = await failure(broker.secrets.CreateSecret(_create(), metadata=bearer(OPERATOR_KEY)))
    assert taken.short == (grpc.StatusCode.ALREADY_EXISTS, "SECRET_EXISTS")
    used = await failure(
        broker.secrets.DeleteSecret(pb.DeleteSecretRequest(name="az_secret"), metadata=bearer(OPERATOR_KEY))
    )
    assert used.short == (grpc.StatusCode.FAILED_PRECONDITION, "SECRET_IN_USE")
    assert used.metadata["connectors"] == "azure-blob-demo, other"
    unknown = await failure(broker.secrets.GetSecret(pb.GetSecretRequest(name="nope"), metadata=bearer(ADMIN_KEY)))
    assert unknown.short == (grpc.StatusCode.NOT_FOUND, "SECRET_NOT_FOUND")
    request = new_connector("x", authentication_secret="nope")
    unknown = await failure(broker.connectors.CreateConnector(request, metadata=bearer(OPERATOR_KEY)))
    assert unknown.short == (grpc.StatusCode.NOT_FOUND, "SECRET_NOT_FOUND")


async def test_changes_are_on_record(broker: Broker) -> None:
    """Who did what to which secret, and which fields were given; no value."""
    await _shared(broker)
    broker.cloud.revoked_at = int(time.time())
    await broker.secrets.UpdateSecret(_update(), metadata=bearer(OPERATOR_KEY))
    rename = pb.RenameSecretRequest(name="az_secret", new_name="az_new")
    await broker.secrets.RenameSecret(rename, metadata=bearer(OPERATOR_KEY))
    events = [stored.event for stored in await broker.core.ledger.events(EventFilter())]
    changes = [
        event for event in events if event.kind is EventKind.ADMIN_CHANGE and event.object.startswith("secrets/")
    ]
    assert [(event.method.rpartition("/")[2], event.object, event.principal) for event in changes] == [
        ("CreateSecret", "secrets/az_secret", "key:ops"),
        ("UpdateSecret", "secrets/az_secret", "key:ops"),
        ("RenameSecret", "secrets/az_secret", "key:ops"),
    ]
    of_update = [event for event in events if event.method == changes[1].method]
    # Dropping keys is on record as a change of each connector, within the change of the secret.
    assert [(event.kind.value, event.object) for event in of_update] == [
        ("change-begun", "secrets/az_secret"),
        ("change-begun", "connectors/azure-blob-demo"),
        ("admin-change", "connectors/azure-blob-demo"),
        ("change-begun", "connectors/other"),
        ("admin-change", "connectors/other"),
        ("admin-change", "secrets/az_secret"),
    ]
    assert changes[1].details["fields"] == "client_secret"
    assert changes[2].details["new_name"] == "az_new"
    assert _NEW not in repr(events)
