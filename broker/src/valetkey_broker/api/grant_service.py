"""GrantService: message to domain, one use case, domain to message."""

import math

import grpc.aio

from valetkey.v1 import grant_service_pb2 as pb
from valetkey.v1 import grant_service_pb2_grpc
from valetkey_broker.api.convert import (
    CONSUMER_ROLES,
    PERMISSIONS,
    TTL_LIMITS,
    grant_message,
    instant,
    permission_set,
    seconds_of,
)
from valetkey_broker.api.paging import page
from valetkey_broker.authz.explain import Explainer, Explanation
from valetkey_broker.authz.grant_admin import GrantAdmin, GrantDraft
from valetkey_broker.authz.nearest_allowed import Question
from valetkey_broker.model import (
    Evidence,
    GrantedConnector,
    InvalidFieldError,
    Principal,
    ResourceId,
    check_name,
    check_principal,
    parse_source_ip,
)
from valetkey_broker.rpc.current_call import caller

_MOST_ATTRIBUTES = 50
_LONGEST_ATTRIBUTE = 1024


class GrantService(grant_service_pb2_grpc.GrantServiceServicer):
    """Keeps grants, and explains them."""

    def __init__(self, admin: GrantAdmin, explainer: Explainer) -> None:
        self._admin = admin
        self._explainer = explainer

    async def CreateGrant(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.CreateGrantRequest,
        context: grpc.aio.ServicerContext[pb.CreateGrantRequest, pb.CreateGrantResponse],
    ) -> pb.CreateGrantResponse:
        """Stores a new grant."""
        _ = context
        grant = await self._admin.create(_draft(request.grant), created_by=caller().name)
        return pb.CreateGrantResponse(grant=grant_message(grant), warnings=await self._admin.warnings(grant))

    async def GetGrant(  # noqa: N802
        self,
        request: pb.GetGrantRequest,
        context: grpc.aio.ServicerContext[pb.GetGrantRequest, pb.GetGrantResponse],
    ) -> pb.GetGrantResponse:
        """Shows one grant."""
        _ = context
        return pb.GetGrantResponse(grant=grant_message(self._admin.get(request.name)))

    async def ListGrants(  # noqa: N802
        self,
        request: pb.ListGrantsRequest,
        context: grpc.aio.ServicerContext[pb.ListGrantsRequest, pb.ListGrantsResponse],
    ) -> pb.ListGrantsResponse:
        """Lists grants by name."""
        _ = context
        shown, token = page(self._admin.all(), lambda grant: grant.name, request.page_size, request.page_token)
        return pb.ListGrantsResponse(grants=[grant_message(grant) for grant in shown], next_page_token=token)

    async def UpdateGrant(  # noqa: N802
        self,
        request: pb.UpdateGrantRequest,
        context: grpc.aio.ServicerContext[pb.UpdateGrantRequest, pb.UpdateGrantResponse],
    ) -> pb.UpdateGrantResponse:
        """Replaces a grant."""
        _ = context
        grant = await self._admin.update(_draft(request.grant))
        return pb.UpdateGrantResponse(grant=grant_message(grant), warnings=await self._admin.warnings(grant))

    async def DeleteGrant(  # noqa: N802
        self,
        request: pb.DeleteGrantRequest,
        context: grpc.aio.ServicerContext[pb.DeleteGrantRequest, pb.DeleteGrantResponse],
    ) -> pb.DeleteGrantResponse:
        """Deletes a grant."""
        _ = context
        await self._admin.delete(request.name, deleted_by=caller().name)
        return pb.DeleteGrantResponse()

    async def ExplainAccess(  # noqa: N802
        self,
        request: pb.ExplainAccessRequest,
        context: grpc.aio.ServicerContext[pb.ExplainAccessRequest, pb.ExplainAccessResponse],
    ) -> pb.ExplainAccessResponse:
        """Says why a request would be allowed, or why not."""
        _ = context
        question = Question(
            principal=_principal(request, caller()),
            resource=ResourceId.parse(request.resource_id),
            permissions=permission_set(request.permissions),
            connector=check_name("connector", request.connector) if request.connector else "",
            ttl=seconds_of(request.ttl, "ttl") if request.HasField("ttl") else None,
            source_ip=parse_source_ip(request.source_ip) if request.source_ip else "",
        )
        return _explanation_message(self._explainer.explain(caller(), question))


def _draft(grant: pb.Grant) -> GrantDraft:
    return GrantDraft(
        name=grant.name,
        principals=list(grant.principals),
        attributes=dict(grant.attributes),
        connectors=[GrantedConnector(connector.name, connector.uid) for connector in grant.connectors],
        containers=list(grant.containers),
        prefixes=list(grant.prefixes),
        permissions=[PERMISSIONS.read(number) for number in grant.permissions],
        consumer_role=CONSUMER_ROLES.read(grant.consumer_role) if grant.consumer_role else None,
        max_ttl=seconds_of(grant.max_ttl, "max_ttl") if grant.HasField("max_ttl") else None,
        source_ip=grant.source_ip,
        expires_at=instant(grant.expire_time, "expire_time") if grant.HasField("expire_time") else None,
        note=grant.note,
        labels=grant.labels,
        version=grant.version,
    )


def _principal(request: pb.ExplainAccessRequest, asker: Principal) -> Principal:
    """Returns who would ask: the caller as it is, or somebody of that name with these attributes and no role."""
    attributes = dict(request.attributes)
    name = request.principal or asker.name
    if name == asker.name and attributes in ({}, dict(asker.attributes)):
        return asker
    longest = max((len(text) for each in attributes.items() for text in each), default=0)
    if len(attributes) > _MOST_ATTRIBUTES or longest > _LONGEST_ATTRIBUTE:
        raise InvalidFieldError(
            "attributes",
            "are too many or too long",
            f"at most {_MOST_ATTRIBUTES} attributes of at most {_LONGEST_ATTRIBUTE} characters",
        )
    # Nobody knows when the identity of somebody who does not call will end.
    return Principal(check_principal("principal", name), frozenset(), Evidence.API_KEY, math.inf, attributes)


def _explanation_message(explanation: Explanation) -> pb.ExplainAccessResponse:
    allowance = explanation.allowance
    response = pb.ExplainAccessResponse(
        allowed=allowance is not None,
        error_message=explanation.error,
        findings=[
            pb.GrantFinding(grant=finding.grant, allows=not finding.reasons, reasons=finding.reasons)
            for finding in explanation.findings
        ],
        nearest=str(explanation.nearest) if explanation.nearest else "",
        scope=explanation.scope,
        caller_problem=explanation.caller_problem,
    )
    if allowance is not None:
        response.grant = allowance.grant.name
        response.ttl.seconds = allowance.ttl
        response.source_ip = allowance.source_ip
        if allowance.limited_by is not None:
            response.ttl_limited_by = TTL_LIMITS.to_proto[allowance.limited_by]
    return response
