"""What ends and what has ended, over the wire: refused credentials, what ends when, rotated keys."""

import asyncio
import hashlib
import time
from pathlib import Path

import grpc.aio
import pytest

from support.inproc import ADMIN_KEY, AUDITOR_KEY, CONSUMER_KEY, OPERATOR_KEY, VIEWER_KEY, Broker, bearer, make_key
from valetkey.v1 import (
    api_key_service_pb2,
    common_pb2,
    connector_service_pb2,
    errors_pb2,
    expiry_service_pb2,
    token_service_pb2,
)
from valetkey_broker.errors import Reason, cloud_error

_NEXT = make_key("X")
READ_LIST = (common_pb2.PERMISSION_READ, common_pb2.PERMISSION_LIST)


async def test_operators_see_that_a_credential_is_refused(stocked: Broker) -> None:
    """A consumer hears that those who run the broker can mend it; these see in the list which, why, and with what."""
    stocked.cloud.fail("signing_key", cloud_error(Reason.CLOUD_CREDENTIAL_REJECTED, "expired", step="x", connector="y"))
    request = token_service_pb2.IssueTokenRequest(resource_id="az://demo", permissions=READ_LIST)
    with pytest.raises(grpc.aio.AioRpcError):
        await stocked.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
    listing = connector_service_pb2.ListConnectorsRequest()
    (listed,) = (await stocked.connectors.ListConnectors(listing, metadata=bearer(VIEWER_KEY))).connectors
    health = listed.health
    assert (health.healthy, health.message) == (False, "expired")
    assert errors_pb2.ErrorReason.Name(health.reason) == "ERROR_REASON_CLOUD_CREDENTIAL_REJECTED"
    assert health.mend == "valetkey service-connector rotate azure-blob-demo --client-secret @FILE"
    asked = expiry_service_pb2.GetIssuingLeftRequest()
    (stopped,) = (await stocked.expiry.GetIssuingLeft(asked, metadata=bearer(AUDITOR_KEY))).accounts
    assert (stopped.connector, stopped.account) == ("azure-blob-demo", "demoaccount")
    assert stopped.end_time == stopped.failing_since_time
    stocked.cloud.heal()
    verify = connector_service_pb2.VerifyConnectorRequest(name="azure-blob-demo")
    await stocked.connectors.VerifyConnector(verify, metadata=bearer(OPERATOR_KEY))
    get = connector_service_pb2.GetConnectorRequest(name="azure-blob-demo")
    assert (await stocked.connectors.GetConnector(get, metadata=bearer(VIEWER_KEY))).connector.health.healthy


async def test_what_ends_when(stocked: Broker) -> None:
    """Viewers see what ends, the first to end first; within a time only what ends by then."""
    left = await stocked.expiry.GetIssuingLeft(expiry_service_pb2.GetIssuingLeftRequest(), metadata=bearer(VIEWER_KEY))
    assert list(left.connectors_without_key) == ["azure-blob-demo"]
    assert 0 < left.without_vault_end_time.seconds - time.time() <= stocked.settings.vault.max_stale_seconds
    assert not left.HasField("vault_away_since_time")
    listing = expiry_service_pb2.ListExpiringRequest()
    found = (await stocked.expiry.ListExpiring(listing, metadata=bearer(VIEWER_KEY))).endings
    kinds = [expiry_service_pb2.EndingKind.Name(each.kind).removeprefix("ENDING_KIND_") for each in found]
    assert kinds == ["SERVER_CERTIFICATE", *["API_KEY"] * 5, "CONNECTOR"]
    assert (found[-1].name, found[-1].HasField("end_time")) == ("azure-blob-demo", False)
    listing.within.seconds = 0
    assert not (await stocked.expiry.ListExpiring(listing, metadata=bearer(VIEWER_KEY))).endings
    certificate = Path(stocked.settings.server.tls_cert_file)
    aside = await asyncio.to_thread(certificate.rename, certificate.with_suffix(".aside"))
    (unseen,) = (await stocked.expiry.ListExpiring(listing, metadata=bearer(VIEWER_KEY))).endings
    assert (unseen.name, unseen.not_looked_at) == ("server.tls_cert_file", True)
    await asyncio.to_thread(aside.rename, certificate)
    listing.within.seconds = -1
    with pytest.raises(grpc.aio.AioRpcError, match="within"):
        await stocked.expiry.ListExpiring(listing, metadata=bearer(VIEWER_KEY))


async def test_a_rotated_key_over_the_wire(stocked: Broker) -> None:
    """Protects an admin who rotates the key in use: both are good, and with an overlap of nothing only the new one."""
    rotate = api_key_service_pb2.RotateApiKeyRequest(name="admin", key_sha256=hashlib.sha256(_NEXT.encode()).digest())
    with pytest.raises(grpc.aio.AioRpcError, match="overlap"):
        await stocked.api_keys.RotateApiKey(rotate, metadata=bearer(ADMIN_KEY))
    rotate.overlap.seconds = 60
    key = (await stocked.api_keys.RotateApiKey(rotate, metadata=bearer(ADMIN_KEY))).api_key
    assert (key.rotated_by, key.overlap_end_time.seconds - key.rotate_time.seconds) == ("key:admin", 60)
    for good in (ADMIN_KEY, _NEXT):
        await stocked.api_keys.ListApiKeys(api_key_service_pb2.ListApiKeysRequest(), metadata=bearer(good))
    last = make_key("Y")
    rotate.key_sha256, rotate.overlap.seconds = hashlib.sha256(last.encode()).digest(), 0
    await stocked.api_keys.RotateApiKey(rotate, metadata=bearer(_NEXT))
    for ended in (ADMIN_KEY, _NEXT):
        with pytest.raises(grpc.aio.AioRpcError, match="unknown or revoked"):
            await stocked.api_keys.ListApiKeys(api_key_service_pb2.ListApiKeysRequest(), metadata=bearer(ended))
    listing = api_key_service_pb2.ListApiKeysRequest()
    (shown, *_) = (await stocked.api_keys.ListApiKeys(listing, metadata=bearer(last))).api_keys
    assert not shown.HasField("overlap_end_time")
