"""A broker for the client's tests: real gRPC over TLS, answers out of memory, failures on demand."""

# ruff: noqa: N802 (gRPC calls methods by their names in the API)
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from support.fake_access import NOW, FakeAccess
from support.fake_credentials import FakeCredentials
from support.fake_logins import FakeLogins
from support.fake_secrets import FakeSecrets
from valetkey.v1 import api_key_service_pb2 as api_key_pb
from valetkey.v1 import (
    api_key_service_pb2_grpc,
    connector_service_pb2_grpc,
    credential_service_pb2_grpc,
    expiry_service_pb2_grpc,
    grant_service_pb2_grpc,
    identity_service_pb2_grpc,
    ledger_service_pb2_grpc,
    login_service_pb2_grpc,
    resource_service_pb2_grpc,
    secret_service_pb2_grpc,
    token_service_pb2_grpc,
)
from valetkey.v1 import common_pb2 as common_pb
from valetkey.v1 import connector_service_pb2 as connector_pb
from valetkey.v1 import credential_service_pb2 as credential_pb
from valetkey.v1 import errors_pb2 as errors_pb
from valetkey.v1 import expiry_service_pb2 as expiry_pb
from valetkey.v1 import identity_service_pb2 as identity_pb
from valetkey.v1 import ledger_service_pb2 as ledger_pb
from valetkey.v1 import resource_service_pb2 as resource_pb
from valetkey.v1 import secret_service_pb2 as secret_pb
from valetkey.v1 import token_service_pb2 as token_pb
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.api.connector_types import connector_type_messages
from valetkey_broker.connectors.connector_types import connector_types
from valetkey_devstack.ca import CertificateAuthority, make_ca

API_KEY = "vk_" + "k" * 43
SAS = "sv=2025-07-05&sp=rl&sig=PLANTED%2Bsignature%3D"


@dataclass
class Failure:
    """How a method shall fail. `bare` leaves the ErrorStatus out; `garbage` puts rubbish in its place."""

    code: grpc.StatusCode
    message: str
    reason: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    request_id: str = "req-1"
    retry_delay: timedelta | None = None
    bare: bool = False
    garbage: bool = False
    delay: float = 0.0
    checks: list[errors_pb.Check] = field(default_factory=list)

    def status(self) -> bytes:
        """Returns the bytes of `grpc-status-details-bin`."""
        if self.garbage:
            return b"\xff\xff rubbish"
        detail = errors_pb.ErrorDetail(
            reason=errors_pb.ErrorReason.ValueType(self.reason),
            metadata=self.metadata,
            request_id=self.request_id,
        )
        if self.retry_delay is not None:
            detail.retry_delay.FromTimedelta(self.retry_delay)
        status = errors_pb.ErrorStatus(code=self.code.value[0], message=self.message)
        status.details.add().Pack(detail)
        if self.checks:
            status.details.add().Pack(errors_pb.Checklist(checks=self.checks))
        return status.SerializeToString()


def resource(container: str, account: str = "contosoml", host: str = "blob.core.windows.net") -> common_pb.Resource:
    """Returns a container as the broker shows it."""
    return common_pb.Resource(
        resource_type=common_pb.RESOURCE_TYPE_BLOB_CONTAINER,
        resource_id=f"az://{container}",
        account=account,
        url=f"https://{account}.{host}/{container}",
    )


def connector(name: str, resource_id: str = "") -> connector_pb.Connector:
    """Returns a stored connector."""
    message = connector_pb.Connector(
        name=name,
        type=connector_pb.CONNECTOR_TYPE_AZURE,
        auth_method=connector_pb.AUTH_METHOD_SERVICE_PRINCIPAL,
        resource_type=common_pb.RESOURCE_TYPE_BLOB_CONTAINER,
        resource_types=[common_pb.RESOURCE_TYPE_BLOB_CONTAINER],
        resource_id=resource_id,
        azure=connector_pb.AzureConfig(tenant_id="t-1", client_id="c-1", cloud="dev"),
        credential_version=1,
        meta=common_pb.ObjectMeta(uid=f"uid-of-{name}", created_by="key:ops"),
    )
    message.meta.create_time.FromDatetime(NOW)
    return message


def check(step: str, outcome: str = "ok", **more: str) -> errors_pb.Check:
    """Returns a line of a checklist."""
    return errors_pb.Check(step=step, outcome=errors_pb.CheckOutcome.Value(f"CHECK_OUTCOME_{outcome.upper()}"), **more)


def entry(name: str, *resources: common_pb.Resource, error: str = "") -> resource_pb.ConnectorResources:
    """Returns one connector's entry of ListResources."""
    message = resource_pb.ConnectorResources(
        connector_uid=f"uid-of-{name}",
        connector=name,
        connector_type=connector_pb.CONNECTOR_TYPE_AZURE,
        resource_type=common_pb.RESOURCE_TYPE_BLOB_CONTAINER,
        resources=resources,
        error_message=error,
    )
    if error:
        message.error.reason = errors_pb.ERROR_REASON_CLOUD_CREDENTIAL_REJECTED
        message.error.metadata["azure_code"] = "AADSTS7000215"
    return message


def token(request: token_pb.IssueTokenRequest, number: int = 1) -> token_pb.IssueTokenResponse:
    """Returns a token as the broker would issue it at NOW; the numbers tell those of a stream apart."""
    answer = token_pb.IssueTokenResponse(
        lease_id=f"lease-{number}",
        sas_token=SAS,
        resource=resource(request.resource_id.removeprefix("az://")),
        permissions=request.permissions,
        connector=request.connector or "azure-blob-demo",
        credential_version=3,
        grant="training",
    )
    answer.start_time.FromDatetime(NOW - timedelta(minutes=15))
    answer.expire_time.FromDatetime(NOW + timedelta(minutes=15))
    if request.ttl.ToTimedelta() > timedelta(hours=1):  # What its grant allows.
        answer.ttl_limited_by = common_pb.TTL_LIMIT_GRANT_MAX_TTL
    return answer


class FakeBroker(
    FakeAccess,
    FakeCredentials,
    FakeLogins,
    FakeSecrets,
    token_service_pb2_grpc.TokenServiceServicer,
    resource_service_pb2_grpc.ResourceServiceServicer,
    connector_service_pb2_grpc.ConnectorServiceServicer,
    api_key_service_pb2_grpc.ApiKeyServiceServicer,
    identity_service_pb2_grpc.IdentityServiceServicer,
    expiry_service_pb2_grpc.ExpiryServiceServicer,
):
    """Answers every RPC. `requests` holds what was let in, `metadata` the last call's; `failures` go by method.

    Callers are let in with `api_key` as their bearer, and, if `trusts_certificates`, without one.
    """

    def __init__(self, endpoint: str, authority: CertificateAuthority) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.authority = authority
        self.ca_file = authority.ca_file
        self.api_key = API_KEY
        self.trusts_certificates = False
        self.peer: dict[str, Any] = {}
        self.entered = 0
        self.requests: list[Any] = []
        self.metadata: dict[str, Any] = {}
        self.failures: dict[str, Failure] = {}
        self.connectors: dict[str, connector_pb.Connector] = {}
        self.endings: list[expiry_pb.Ending] = []
        self.others: list[expiry_pb.Ending] = []
        self.issuing_left = expiry_pb.GetIssuingLeftResponse()
        self.api_keys: dict[str, api_key_pb.ApiKey] = {}
        self.admitted: dict[bytes, str] = {}  # names of keys by the SHA-256 of their secrets
        self.secrets: dict[str, secret_pb.NamedSecret] = {}
        self.rotations: list[credential_pb.Rotation] = []
        self.reached = [resource("demo-models"), resource("demo-zenmlartifactstore")]
        self.left_out = 0
        self.warnings: list[str] = []
        self.checks: list[errors_pb.Check] = []
        self.diagnosis = ledger_pb.DiagnoseTokenResponse()
        self.caller = identity_pb.WhoAmIResponse(principal="key:trainer")
        self.entries = [entry("azure-blob-demo", *self.reached)]
        self.page_size = 2
        # Called once, by the next call that was let in, before it is answered.
        self.interruption: Callable[[], None] | None = None

    def IssueToken(
        self, request: token_pb.IssueTokenRequest, context: grpc.ServicerContext
    ) -> token_pb.IssueTokenResponse:
        self._enter("IssueToken", request, context)
        return token(request)

    def IssueTokens(
        self, request: token_pb.IssueTokensRequest, context: grpc.ServicerContext
    ) -> token_pb.IssueTokensResponse:
        """Answers as IssueToken would; what asks for something `denied` is refused."""
        self._enter("IssueTokens", request, context)
        answer = token_pb.IssueTokensResponse()
        for number, each in enumerate(request.requests, 1):
            if "denied" in each.resource_id:
                error = answer.results.add().error
                error.code, error.message = 7, f"no grant lets key:test use {each.resource_id}"
                error.detail.reason = errors_pb.ERROR_REASON_RESOURCE_DENIED
                error.detail.metadata["resource"] = each.resource_id
            else:
                answer.results.add().token.CopyFrom(token(each, number))
        return answer

    def WatchToken(
        self, request: token_pb.WatchTokenRequest, context: grpc.ServicerContext
    ) -> Iterator[token_pb.WatchTokenResponse]:
        self._enter("WatchToken", request, context)
        yield from self._answers(context)

    def ListResources(
        self, request: resource_pb.ListResourcesRequest, context: grpc.ServicerContext
    ) -> resource_pb.ListResourcesResponse:
        self._enter("ListResources", request, context)
        return resource_pb.ListResourcesResponse(connectors=self.entries)

    def CreateConnector(
        self, request: connector_pb.CreateConnectorRequest, context: grpc.ServicerContext
    ) -> connector_pb.CreateConnectorResponse:
        self._enter("CreateConnector", request, context)
        stored = connector(request.name, request.resource_id)
        stored.labels.update(request.labels)
        for noted in ("expire_time", "expires_skew_tolerance"):
            if request.HasField(noted):
                getattr(stored, noted).CopyFrom(getattr(request, noted))
        if not request.resource_type and not request.resource_id:
            stored.ClearField("resource_type")
        stored.authentication_secret = request.authentication_secret
        stored.description, stored.unverified = request.description, request.no_verify
        self.connectors[request.name] = stored
        return connector_pb.CreateConnectorResponse(
            connector=self.connectors[request.name],
            resources=self.reached,
            left_out=self.left_out,
            warnings=self.warnings,
            checks=self.checks,
        )

    def GetConnector(
        self, request: connector_pb.GetConnectorRequest, context: grpc.ServicerContext
    ) -> connector_pb.GetConnectorResponse:
        self._enter("GetConnector", request, context)
        self._known(request.name, context)
        return connector_pb.GetConnectorResponse(connector=self.connectors[request.name])

    def ListConnectors(
        self, request: connector_pb.ListConnectorsRequest, context: grpc.ServicerContext
    ) -> connector_pb.ListConnectorsResponse:
        self._enter("ListConnectors", request, context)
        labels = request.labels.items()
        wanted = [name for name in sorted(self.connectors) if labels <= self.connectors[name].labels.items()]
        names, token = self._page(wanted, request.page_token)
        return connector_pb.ListConnectorsResponse(
            connectors=[self.connectors[name] for name in names], next_page_token=token
        )

    def UpdateConnector(
        self, request: connector_pb.UpdateConnectorRequest, context: grpc.ServicerContext
    ) -> connector_pb.UpdateConnectorResponse:
        self._enter("UpdateConnector", request, context)
        self._known(request.name, context)
        stored = self.connectors[request.name]
        stored.azure.MergeFrom(request.azure)
        stored.labels.update(request.labels)
        stored.resource_id = request.resource_id or stored.resource_id
        stored.resource_type = request.resource_type or stored.resource_type
        if "resource_type" in request.remove:
            stored.ClearField("resource_type")
        stored.unverified = stored.unverified or request.no_verify
        touched = request.HasField("azure") or request.HasField("azure_secret") or request.resource_id
        reached = self.reached if touched and not request.no_verify else []
        return connector_pb.UpdateConnectorResponse(connector=stored, resources=reached, warnings=self.warnings)

    def DeleteConnector(
        self, request: connector_pb.DeleteConnectorRequest, context: grpc.ServicerContext
    ) -> connector_pb.DeleteConnectorResponse:
        self._enter("DeleteConnector", request, context)
        self._known(request.name, context)
        del self.connectors[request.name]
        return connector_pb.DeleteConnectorResponse()

    def VerifyConnector(
        self, request: connector_pb.VerifyConnectorRequest, context: grpc.ServicerContext
    ) -> connector_pb.VerifyConnectorResponse:
        self._enter("VerifyConnector", request, context)
        self._known(request.name, context)
        return connector_pb.VerifyConnectorResponse(resources=self.reached, left_out=self.left_out, checks=self.checks)

    def CheckConnector(
        self, request: connector_pb.CheckConnectorRequest, context: grpc.ServicerContext
    ) -> connector_pb.CheckConnectorResponse:
        self._enter("CheckConnector", request, context)
        return connector_pb.CheckConnectorResponse(resources=self.reached, left_out=self.left_out)

    def ListConnectorTypes(
        self, request: connector_pb.ListConnectorTypesRequest, context: grpc.ServicerContext
    ) -> connector_pb.ListConnectorTypesResponse:
        self._enter("ListConnectorTypes", request, context)
        return connector_pb.ListConnectorTypesResponse(
            types=connector_type_messages(connector_types(AUTH_METHODS))  # what the real broker says
        )

    def DiagnoseToken(
        self, request: ledger_pb.DiagnoseTokenRequest, context: grpc.ServicerContext
    ) -> ledger_pb.DiagnoseTokenResponse:
        self._enter("DiagnoseToken", request, context)
        return self.diagnosis

    def WhoAmI(self, request: identity_pb.WhoAmIRequest, context: grpc.ServicerContext) -> identity_pb.WhoAmIResponse:
        self._enter("WhoAmI", request, context)
        if holder := self._holder():
            return identity_pb.WhoAmIResponse(principal=f"key:{holder}")
        return self.caller

    def ListExpiring(
        self, request: expiry_pb.ListExpiringRequest, context: grpc.ServicerContext
    ) -> expiry_pb.ListExpiringResponse:
        self._enter("ListExpiring", request, context)
        others = [] if request.HasField("within") else self.others
        return expiry_pb.ListExpiringResponse(endings=[*self.endings, *others])

    def GetIssuingLeft(
        self, request: expiry_pb.GetIssuingLeftRequest, context: grpc.ServicerContext
    ) -> expiry_pb.GetIssuingLeftResponse:
        self._enter("GetIssuingLeft", request, context)
        return self.issuing_left

    def CreateApiKey(
        self, request: api_key_pb.CreateApiKeyRequest, context: grpc.ServicerContext
    ) -> api_key_pb.CreateApiKeyResponse:
        self._enter("CreateApiKey", request, context)
        self.admitted[request.key_sha256] = request.name
        key = api_key_pb.ApiKey(
            name=request.name,
            roles=request.roles,
            expire_time=request.expire_time,
            meta=common_pb.ObjectMeta(uid="uid-key", created_by="key:admin"),
        )
        self.api_keys[request.name] = key
        return api_key_pb.CreateApiKeyResponse(api_key=key)

    def ListApiKeys(
        self, request: api_key_pb.ListApiKeysRequest, context: grpc.ServicerContext
    ) -> api_key_pb.ListApiKeysResponse:
        self._enter("ListApiKeys", request, context)
        names, token = self._page(sorted(self.api_keys), request.page_token)
        return api_key_pb.ListApiKeysResponse(api_keys=[self.api_keys[name] for name in names], next_page_token=token)

    def RotateApiKey(
        self, request: api_key_pb.RotateApiKeyRequest, context: grpc.ServicerContext
    ) -> api_key_pb.RotateApiKeyResponse:
        self._enter("RotateApiKey", request, context)
        self.admitted[request.key_sha256] = request.name
        key = self.api_keys[request.name]
        key.rotate_time.FromDatetime(NOW)
        key.rotated_by = "key:admin"
        if request.overlap.seconds:
            key.overlap_end_time.FromDatetime(NOW + request.overlap.ToTimedelta())
        return api_key_pb.RotateApiKeyResponse(api_key=key)

    def RevokeApiKey(
        self, request: api_key_pb.RevokeApiKeyRequest, context: grpc.ServicerContext
    ) -> api_key_pb.RevokeApiKeyResponse:
        self._enter("RevokeApiKey", request, context)
        self.api_keys.pop(request.name, None)
        return api_key_pb.RevokeApiKeyResponse()

    def _enter(self, method: str, request: Message, context: grpc.ServicerContext) -> None:
        self.entered += 1
        self.metadata = dict(context.invocation_metadata())
        self.peer = dict(context.auth_context())
        bearer = self.metadata.get("authorization")
        known = bearer == f"Bearer {self.api_key}" or self._holder() in self.api_keys
        if not known and not (self.trusts_certificates and bearer is None):
            refusal = Failure(
                grpc.StatusCode.UNAUTHENTICATED,
                "the API key is unknown or revoked",
                errors_pb.ERROR_REASON_CREDENTIALS_INVALID,
            )
            self._abort(refusal, context)
        self.requests.append(request)
        if interrupt := self.interruption:
            self.interruption = None
            interrupt()
        if failure := self.failures.get(method):
            self._abort(failure, context)

    def _holder(self) -> str:
        key = str(self.metadata.get("authorization", "")).removeprefix("Bearer ")
        return self.admitted.get(hashlib.sha256(key.encode()).digest(), "")

    def _known(self, name: str, context: grpc.ServicerContext) -> None:
        if name not in self.connectors:
            missing = Failure(
                grpc.StatusCode.NOT_FOUND,
                f"there is no connector {name!r}",
                errors_pb.ERROR_REASON_CONNECTOR_NOT_FOUND,
                {"connector": name},
            )
            self._abort(missing, context)

    def _refuse(self, context: grpc.ServicerContext, code: grpc.StatusCode, text: str, reason: int) -> None:
        self._abort(Failure(code, text, reason), context)

    def _abort(self, failure: Failure, context: grpc.ServicerContext) -> None:
        if failure.delay:
            gone = threading.Event()  # Whoever is late does not keep the test from ending once its caller has given up.
            if context.add_callback(gone.set):
                gone.wait(failure.delay)
        if not failure.bare:
            context.set_trailing_metadata((("grpc-status-details-bin", failure.status()),))
        context.abort(failure.code, failure.message)

    def _page(self, names: list[str], token: str) -> tuple[list[str], str]:
        start = int(token or 0)
        end = start + self.page_size
        return names[start:end], str(end) if end < len(names) else ""


@contextmanager
def running_fake_broker(
    directory: Path,
    sans: tuple[str, ...] = ("localhost", "127.0.0.1"),
    *,
    client_ca: bytes | None = None,
    own: tuple[Path, Path] | None = None,
) -> Iterator[FakeBroker]:
    """Serves a FakeBroker on a free loopback port until the block ends; `directory` takes its CA.

    `own` are another certificate and key than that CA's.

    With `client_ca`, in PEM form, every caller must show a certificate of it, and is let in by it.
    """
    authority = make_ca(directory)
    certificate, key = own or authority.issue("fake-broker", directory, sans)
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    pair = (key.read_bytes(), certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    broker = FakeBroker(f"127.0.0.1:{port}", authority)
    broker.trusts_certificates = client_ca is not None
    token_service_pb2_grpc.add_TokenServiceServicer_to_server(broker, server)
    resource_service_pb2_grpc.add_ResourceServiceServicer_to_server(broker, server)
    connector_service_pb2_grpc.add_ConnectorServiceServicer_to_server(broker, server)
    api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server(broker, server)
    identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(broker, server)
    expiry_service_pb2_grpc.add_ExpiryServiceServicer_to_server(broker, server)
    grant_service_pb2_grpc.add_GrantServiceServicer_to_server(broker, server)
    ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server(broker, server)
    login_service_pb2_grpc.add_LoginServiceServicer_to_server(broker, server)
    credential_service_pb2_grpc.add_CredentialServiceServicer_to_server(broker, server)
    secret_service_pb2_grpc.add_SecretServiceServicer_to_server(broker, server)
    server.start()
    try:
        yield broker
    finally:
        server.stop(grace=None).wait()
