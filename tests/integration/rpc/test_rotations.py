"""CredentialService over the wire: who may, what is told, and what a rotation leaves behind."""

import asyncio

import grpc

from support.captured_log import Log
from support.failed_calls import failure
from support.inproc import ADMIN_KEY, AUDITOR_KEY, CONSUMER_KEY, OPERATOR_KEY, VIEWER_KEY, Broker, bearer
from valetkey.v1 import api_key_service_pb2, connector_service_pb2, ledger_service_pb2
from valetkey.v1 import credential_service_pb2 as pb
from valetkey.v1.token_service_pb2 import IssueTokenRequest

NAME = "azure-blob-demo"
NEW = "PLANTED~rotated-client-secret"
CONNECTOR = pb.CREDENTIAL_HOLDER_CONNECTOR


def rotate(secret: str = NEW, **azure: str) -> pb.RotateCredentialRequest:
    return pb.RotateCredentialRequest(
        name=NAME,
        holder=CONNECTOR,
        azure=connector_service_pb2.AzureConfig(**azure) if azure else None,
        azure_secret=connector_service_pb2.AzureSecret(client_secret=secret),
    )


async def ended(broker: Broker) -> pb.Rotation:
    """Returns the rotation once it is over."""
    request = pb.GetRotationRequest(name=NAME, holder=CONNECTOR)
    async with asyncio.timeout(60):
        while True:
            found = (await broker.credentials.GetRotation(request, metadata=bearer(VIEWER_KEY))).rotation
            if found.state >= pb.ROTATION_STATE_DONE:
                return found
            await asyncio.sleep(0.05)


async def test_a_rotation_and_back(stocked: Broker, log: Log) -> None:
    """Tokens are had throughout; ledger, log and answers say what was done, and nothing of the secret."""
    issue = IssueTokenRequest(resource_id="az://demo", permissions=[1])
    keys = stocked.cloud.calls["signing_key"]
    begun = await stocked.credentials.RotateCredential(rotate(), metadata=bearer(OPERATOR_KEY))
    assert begun.rotation.state == pb.ROTATION_STATE_PROVING
    busy = await failure(stocked.credentials.RotateCredential(rotate(), metadata=bearer(ADMIN_KEY)))
    assert (busy.code, busy.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ROTATION_UNDER_WAY")
    assert (busy.metadata["started_by"], "key:ops" in busy.message) == ("key:ops", True)
    done = await ended(stocked)
    assert (done.state, done.from_version, done.to_version) == (pb.ROTATION_STATE_DONE, 1, 2)
    token = await stocked.tokens.IssueToken(issue, metadata=bearer(CONSUMER_KEY))
    assert token.credential_version == 2
    assert stocked.cloud.calls["signing_key"] > keys
    back = pb.RollbackCredentialRequest(name=NAME, holder=CONNECTOR, version=1)
    await stocked.credentials.RollbackCredential(back, metadata=bearer(OPERATOR_KEY))
    assert (await ended(stocked)).to_version == 3
    listed = await stocked.credentials.ListCredentialVersions(
        pb.ListCredentialVersionsRequest(name=NAME, holder=CONNECTOR), metadata=bearer(VIEWER_KEY)
    )
    assert [(each.version, each.in_use) for each in listed.versions] == [(3, True), (2, False)]
    over = await failure(
        stocked.credentials.AbortRotation(
            pb.AbortRotationRequest(name=NAME, holder=CONNECTOR), metadata=bearer(OPERATOR_KEY)
        )
    )
    assert (over.code, over.reason) == (grpc.StatusCode.NOT_FOUND, "ROTATION_NOT_FOUND")
    events = await stocked.ledger.ListEvents(
        ledger_service_pb2.ListEventsRequest(page_size=500), metadata=bearer(AUDITOR_KEY)
    )
    steps = [event for event in events.events if event.kind == ledger_service_pb2.EVENT_KIND_ROTATION]
    assert [step.details["state"] for step in steps] == ["switching", "done"] * 2
    assert {step.principal for step in steps} == {"key:ops"}
    assert NEW not in str(events) + str(log) + str(begun) + str(done) + str(listed)


async def test_who_may(stocked: Broker) -> None:
    """Operators rotate; what grants come to mean, admins only; viewers look on."""
    for key in (VIEWER_KEY, CONSUMER_KEY):
        refused = await failure(stocked.credentials.RotateCredential(rotate(), metadata=bearer(key)))
        assert refused.reason == "ROLE_REQUIRED"
    elsewhere = rotate(storage_account="otheraccount")
    refused = await failure(stocked.credentials.RotateCredential(elsewhere, metadata=bearer(OPERATOR_KEY)))
    assert refused.reason == "ROLE_REQUIRED"
    gate = stocked.cloud.hold("log_in")
    begun = await stocked.credentials.RotateCredential(elsewhere, metadata=bearer(ADMIN_KEY))
    assert begun.rotation.state == pb.ROTATION_STATE_PROVING, "an admin's key is known by its uid"
    no_admin_now = api_key_service_pb2.RevokeApiKeyRequest(name="admin")
    await stocked.api_keys.RevokeApiKey(no_admin_now, metadata=bearer(ADMIN_KEY))
    gate.set()
    assert (await ended(stocked)).reason == "ROLE_REQUIRED"
    nobody = pb.GetRotationRequest(name=NAME)
    unsaid = await failure(stocked.credentials.GetRotation(nobody, metadata=bearer(VIEWER_KEY)))
    assert (unsaid.reason, unsaid.metadata["field"]) == ("INVALID_FIELD", "holder")
