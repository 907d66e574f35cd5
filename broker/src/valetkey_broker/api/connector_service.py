"""ConnectorService: message to domain, one use case, domain to message."""

from functools import partial
from typing import Any

import grpc.aio

from valetkey.v1 import connector_service_pb2 as pb
from valetkey.v1 import connector_service_pb2_grpc
from valetkey_broker.api.account_errors import account_error_messages
from valetkey_broker.api.connector_types import connector_type_messages
from valetkey_broker.api.convert import (
    AUTH_METHODS,
    CONNECTOR_TYPES,
    RESOURCE_TYPES,
    azure_config,
    connector_message,
    given_instant,
    given_seconds,
    given_secrets,
)
from valetkey_broker.api.paging import page
from valetkey_broker.api.resource_pages import shown_resources
from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.connector_draft import NewConnector
from valetkey_broker.connectors.connector_filter import ConnectorFilter
from valetkey_broker.connectors.connector_health import ConnectorHealth
from valetkey_broker.connectors.update_merge import ConnectorChange
from valetkey_broker.connectors.verify import Proof
from valetkey_broker.model import CallInfo, Connector
from valetkey_broker.rpc.call_recorder import Recorder
from valetkey_broker.rpc.checklist_messages import check_messages
from valetkey_broker.rpc.current_call import call_info, caller, current_call


class ConnectorService(connector_service_pb2_grpc.ConnectorServiceServicer):
    """Keeps connectors."""

    def __init__(self, connector_admin: ConnectorAdmin, health: ConnectorHealth, recorder: Recorder) -> None:
        self._connector_admin = connector_admin
        self._health = health
        self._recorder = recorder

    async def CreateConnector(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.CreateConnectorRequest,
        context: grpc.aio.ServicerContext[pb.CreateConnectorRequest, pb.CreateConnectorResponse],
    ) -> pb.CreateConnectorResponse:
        """Verifies and stores a connector."""
        _ = context
        connector, proof = await self._connector_admin.create(
            _new_connector(request), created_by=caller().name, probe_for=_probe_for(request)
        )
        return pb.CreateConnectorResponse(
            connector=self._message(connector), warnings=self._connector_admin.warnings(connector), **_found(proof)
        )

    async def GetConnector(  # noqa: N802
        self,
        request: pb.GetConnectorRequest,
        context: grpc.aio.ServicerContext[pb.GetConnectorRequest, pb.GetConnectorResponse],
    ) -> pb.GetConnectorResponse:
        """Shows one connector."""
        _ = context
        return pb.GetConnectorResponse(connector=self._message(self._connector_admin.get(request.name)))

    async def ListConnectors(  # noqa: N802
        self,
        request: pb.ListConnectorsRequest,
        context: grpc.aio.ServicerContext[pb.ListConnectorsRequest, pb.ListConnectorsResponse],
    ) -> pb.ListConnectorsResponse:
        """Lists connectors by name."""
        _ = context
        wanted = ConnectorFilter(
            type=CONNECTOR_TYPES.read(request.type) if request.type else None,
            auth_method=AUTH_METHODS.read(request.auth_method) if request.auth_method else "",
            resource_type=RESOURCE_TYPES.read(request.resource_type) if request.resource_type else None,
            labels=request.labels,
        )
        found = self._connector_admin.all(wanted)
        shown, token = page(found, lambda c: c.name, request.page_size, request.page_token)
        return pb.ListConnectorsResponse(connectors=[self._message(c) for c in shown], next_page_token=token)

    async def UpdateConnector(  # noqa: N802
        self,
        request: pb.UpdateConnectorRequest,
        context: grpc.aio.ServicerContext[pb.UpdateConnectorRequest, pb.UpdateConnectorResponse],
    ) -> pb.UpdateConnectorResponse:
        """Changes what is given of a connector."""
        _ = context
        change = ConnectorChange(
            name=request.name,
            auth_method=AUTH_METHODS.read(request.auth_method) if request.auth_method else "",
            resource_type=RESOURCE_TYPES.read(request.resource_type) if request.resource_type else "",
            resource_id=request.resource_id,
            azure={field.name: value for field, value in request.azure.ListFields()},
            secrets=given_secrets(request.azure_secret),
            description=request.description,
            labels=request.labels,
            expires_at=given_instant(request, "expire_time"),
            expires_skew_tolerance=given_seconds(request, "expires_skew_tolerance"),
            remove=request.remove,
            no_verify=request.no_verify,
        )
        connector, proof = await self._connector_admin.update(change, caller())
        return pb.UpdateConnectorResponse(
            connector=self._message(connector), warnings=self._connector_admin.warnings(connector), **_found(proof)
        )

    async def DeleteConnector(  # noqa: N802
        self,
        request: pb.DeleteConnectorRequest,
        context: grpc.aio.ServicerContext[pb.DeleteConnectorRequest, pb.DeleteConnectorResponse],
    ) -> pb.DeleteConnectorResponse:
        """Deletes a connector and its credential."""
        _ = context
        await self._connector_admin.delete(request.name, deleted_by=caller().name)
        return pb.DeleteConnectorResponse()

    async def VerifyConnector(  # noqa: N802
        self,
        request: pb.VerifyConnectorRequest,
        context: grpc.aio.ServicerContext[pb.VerifyConnectorRequest, pb.VerifyConnectorResponse],
    ) -> pb.VerifyConnectorResponse:
        """Says what a stored connector reaches.

        Verifying changes nothing, except where keys turn out to be dead, or the connector was never verified before:
        that is put on record.
        """
        _ = context
        connector = self._connector_admin.get(request.name)
        proving = self._connector_admin.verify(request.name, request.resource_id, probe_for=_probe_for(request))
        proof = await self._health.following(connector, proving)
        if connector.unverified and not request.resource_id:
            mark = partial(self._connector_admin.mark_verified, connector)
            await self._recorder.change(current_call.get(), f"connectors/{request.name}", {"verified": "yes"}, mark)
        if proof.keys_revoked:
            drop = partial(self._connector_admin.drop_signing_keys, request.name)
            await self._recorder.change(current_call.get(), f"connectors/{request.name}", {}, drop)
        return pb.VerifyConnectorResponse(**_found(proof))

    async def DropSigningKeys(  # noqa: N802
        self,
        request: pb.DropSigningKeysRequest,
        context: grpc.aio.ServicerContext[pb.DropSigningKeysRequest, pb.DropSigningKeysResponse],
    ) -> pb.DropSigningKeysResponse:
        """Has new signing keys fetched everywhere."""
        _ = context
        connector = await self._connector_admin.drop_signing_keys(request.name)
        response = pb.DropSigningKeysResponse()
        response.not_before.seconds = connector.keys_not_before
        return response

    async def CheckConnector(  # noqa: N802
        self,
        request: pb.CheckConnectorRequest,
        context: grpc.aio.ServicerContext[pb.CheckConnectorRequest, pb.CheckConnectorResponse],
    ) -> pb.CheckConnectorResponse:
        """Says what a connector would reach, and stores nothing."""
        _ = context
        proof = await self._connector_admin.check(_new_connector(request.candidate), checked_by=caller().name)
        return pb.CheckConnectorResponse(**_found(proof))

    async def ListConnectorTypes(  # noqa: N802
        self,
        request: pb.ListConnectorTypesRequest,
        context: grpc.aio.ServicerContext[pb.ListConnectorTypesRequest, pb.ListConnectorTypesResponse],
    ) -> pb.ListConnectorTypesResponse:
        """Describes the types of connectors."""
        _ = request, context
        return pb.ListConnectorTypesResponse(types=connector_type_messages(self._connector_admin.types()))

    def _message(self, connector: Connector) -> pb.Connector:
        return connector_message(connector, self._health.of(connector))


def _found(proof: Proof) -> dict[str, Any]:
    """Returns what all answers say of a verification, by field."""
    shown, left_out = shown_resources(proof.reach.containers)
    return {
        "resources": shown,
        "account_errors": account_error_messages(proof.reach.errors),
        "left_out": left_out,
        "checks": check_messages(proof.checks),
    }


def _new_connector(request: pb.CreateConnectorRequest) -> NewConnector:
    return NewConnector(
        name=request.name,
        type=CONNECTOR_TYPES.read(request.type),
        auth_method=_auth_method(request),
        resource_type=RESOURCE_TYPES.read(request.resource_type) if request.resource_type else None,
        resource_id=request.resource_id,
        azure=azure_config(request.azure),
        secrets=given_secrets(request.azure_secret),
        description=request.description,
        labels=request.labels,
        expires_at=given_instant(request, "expire_time"),
        expires_skew_tolerance=given_seconds(request, "expires_skew_tolerance"),
        no_verify=request.no_verify,
        authentication_secret=request.authentication_secret,
    )


def _auth_method(request: pb.CreateConnectorRequest) -> str:
    """Returns the auth method; a named secret says it where the request does not."""
    said_by_secret = request.authentication_secret and not request.auth_method
    return "" if said_by_secret else AUTH_METHODS.read(request.auth_method)


def _probe_for(request: pb.CreateConnectorRequest | pb.VerifyConnectorRequest) -> CallInfo | None:
    return call_info() if request.probe_write else None
