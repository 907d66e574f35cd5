"""UpdateConnector over the wire: what changes, what is on record, who may, and what is told to whom."""

import grpc
import pytest

from support.captured_log import Log
from support.failed_calls import failure
from support.inproc import ADMIN_KEY, AUDITOR_KEY, CONSUMER_KEY, OPERATOR_KEY, VIEWER_KEY, Broker, bearer
from valetkey.v1 import connector_service_pb2 as pb
from valetkey.v1 import ledger_service_pb2
from valetkey.v1.token_service_pb2 import IssueTokenRequest

NAME = "azure-blob-demo"
NEW = "PLANTED~new-client-secret"


def change(**fields: object) -> pb.UpdateConnectorRequest:
    return pb.UpdateConnectorRequest(name=NAME, **fields)  # type: ignore[arg-type]


async def details(broker: Broker) -> list[dict[str, str]]:
    """Returns what the records of updates say, the oldest first."""
    answer = await broker.ledger.ListEvents(ledger_service_pb2.ListEventsRequest(), metadata=bearer(AUDITOR_KEY))
    return [dict(event.details) for event in answer.events if event.method.endswith("UpdateConnector")]


async def test_a_new_secret_is_used_at_once_and_nowhere_shown(stocked: Broker, log: Log) -> None:
    """Tokens are signed by it from the next call on; ledger, log and answer say that there is one, and no more."""
    request = IssueTokenRequest(resource_id="az://demo", permissions=[1])
    before = await stocked.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    asked = change(azure_secret=pb.AzureSecret(client_secret=NEW), labels={"team": "ml"}, description="nightly")
    answer = await stocked.connectors.UpdateConnector(asked, metadata=bearer(OPERATOR_KEY))
    assert answer.connector.credential_version == 2
    assert (answer.connector.description, dict(answer.connector.labels)) == ("nightly", {"team": "ml"})
    assert [resource.resource_id for resource in answer.resources] == ["az://demo"]
    assert answer.connector.meta.uid in stocked.cloud.forgotten, "log-ins with the old secret are dropped"
    after = await stocked.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    assert (before.credential_version, after.credential_version) == (1, 2)
    begun, done = await details(stocked)
    assert begun == done == {"credential": "new", "labels": "team=ml"}
    document = await stocked.store.read("credentials/azure-blob-demo", 2)
    assert document is not None
    assert document.data["client_secret"] == NEW
    assert NEW not in str(answer) + str(log)


async def test_who_may(stocked: Broker) -> None:
    """Operators change connectors; what the grants of others mean, admins only. A refusal is on record, too."""
    elsewhere = change(resource_id="az://models", azure=pb.AzureConfig(storage_account="otheraccount"))
    for key in (VIEWER_KEY, CONSUMER_KEY, OPERATOR_KEY):
        refused = await failure(stocked.connectors.UpdateConnector(elsewhere, metadata=bearer(key)))
        assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert "another connector" in refused.message
    moved = await stocked.connectors.UpdateConnector(elsewhere, metadata=bearer(ADMIN_KEY))
    assert (moved.connector.resource_id, moved.connector.azure.storage_account) == ("az://models", "otheraccount")
    records = await details(stocked)
    assert {"storage_account": "otheraccount", "resource": "az://models"} in records


async def test_a_connector_that_was_stored_untried_is_verified_later(stocked: Broker) -> None:
    """What was stored without asking the cloud shows so until it was proved; the proof is on record."""
    untried = change(azure_secret=pb.AzureSecret(client_secret=NEW), no_verify=True)
    answer = await stocked.connectors.UpdateConnector(untried, metadata=bearer(OPERATOR_KEY))
    assert answer.connector.unverified
    assert list(answer.resources) == []
    await stocked.connectors.VerifyConnector(pb.VerifyConnectorRequest(name=NAME), metadata=bearer(OPERATOR_KEY))
    shown = await stocked.connectors.GetConnector(pb.GetConnectorRequest(name=NAME), metadata=bearer(VIEWER_KEY))
    assert not shown.connector.unverified
    events = await stocked.ledger.ListEvents(ledger_service_pb2.ListEventsRequest(), metadata=bearer(AUDITOR_KEY))
    assert [dict(e.details) for e in events.events if e.method.endswith("VerifyConnector")] == [{"verified": "yes"}] * 2


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"remove": ["nonsense"]}, "remove"),
        ({"labels": {"": "x"}}, "labels"),
        ({"auth_method": 77}, "auth_method"),
        ({"expire_time": {"seconds": 1}}, "expire_time"),
        ({"expires_skew_tolerance": {"seconds": -1}}, "expires_skew_tolerance"),
    ],
)
async def test_what_is_malformed_names_its_field(stocked: Broker, fields: dict[str, object], field: str) -> None:
    """Programs learn which field it was."""
    refused = await failure(stocked.connectors.UpdateConnector(change(**fields), metadata=bearer(OPERATOR_KEY)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert refused.metadata["field"] == field
