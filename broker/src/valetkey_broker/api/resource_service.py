"""ResourceService: what can I reach?"""

from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter

import grpc.aio

from valetkey.v1 import common_pb2, resource_service_pb2_grpc
from valetkey.v1 import resource_service_pb2 as pb
from valetkey_broker.api.account_errors import account_error_messages
from valetkey_broker.api.convert import CONNECTOR_TYPES, RESOURCE_TYPES, resource_message
from valetkey_broker.api.resource_pages import MOST_RESOURCES, Place, place_of, resource_page
from valetkey_broker.authz.policy import Policy, Visible, serves
from valetkey_broker.concurrency.cooperative_slices import slices
from valetkey_broker.connectors.connector_admin import ConnectorAdmin, ConnectorReach
from valetkey_broker.errors import account_not_searched, role_required
from valetkey_broker.model import Connector, Container, ResourceId, Role, check_name
from valetkey_broker.rpc.current_call import caller, current_call
from valetkey_broker.rpc.error_status import detail, told_to

_PLACE = itemgetter(0, 1)  # The order of pages: account, resource id.
# Consumers learn that something is missing, not of which accounts there are.
_MAY_SEE_ACCOUNTS = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)
# Consumers are many, and run in loops: the cloud answers them all at once every two seconds.
_MAY_REFRESH = _MAY_SEE_ACCOUNTS
# So long it asks the cloud at most, or for this part of the call's time: the rest is for the answer.
_LONGEST_SECONDS, _OF_THE_TIME = 20.0, 0.7


class ResourceService(resource_service_pb2_grpc.ResourceServiceServicer):
    """Lists resources."""

    def __init__(self, connector_admin: ConnectorAdmin, policy: Policy) -> None:
        self._connector_admin = connector_admin
        self._policy = policy

    async def ListResources(  # noqa: N802 (gRPC's naming)
        self,
        request: pb.ListResourcesRequest,
        context: grpc.aio.ServicerContext[pb.ListResourcesRequest, pb.ListResourcesResponse],
    ) -> pb.ListResourcesResponse:
        """Lists what the caller's connectors reach."""
        if request.refresh and not caller().has_any(_MAY_REFRESH):
            raise role_required(
                f"{caller().name} may not have the cloud asked anew; it needs the role admin or operator or viewer. "
                "Leave refresh out: what is listed is two seconds old at most",
                method="/valetkey.v1.ResourceService/ListResources",
                needs="admin or operator or viewer",
            )
        if request.connector:
            check_name("connector", request.connector)
        only = ResourceId.parse(request.resource_id) if request.resource_id else None
        visible = self._policy.visible(caller())
        connectors = [
            connector
            for connector in visible.connectors(request.connector)
            if connector.resource is None or visible.scopes(connector, connector.resource)
        ]
        # One entry for each type of a connector: one that cannot be listed does not hide the others.
        connectors = [each for connector in connectors for each in connector.by_type()]
        if request.resource_type:
            wanted = RESOURCE_TYPES.read(request.resource_type)
            connectors = [connector for connector in connectors if connector.resource_type == wanted]
        if only is not None:  # A connector for another container is not asked at all, nor one that is not for it.
            connectors = [c for c in connectors if serves(c, only) and visible.scopes(c, only)]
        after = place_of(request.page_token)
        reached = await self._connector_admin.reach(
            connectors,
            only,
            lambda connector, container: bool(visible.scopes(connector, container.inside())),
            seconds=_seconds(context),
            # Later pages go on with what the first one found.
            anew=request.refresh and after is None,
        )
        entries = [_message(reach, await _resources(reach, visible, only, after)) for reach in reached]
        shown, token = resource_page(entries, request.page_size, request.page_token)
        return pb.ListResourcesResponse(connectors=shown, next_page_token=token)


def _seconds(context: grpc.aio.ServicerContext[pb.ListResourcesRequest, pb.ListResourcesResponse]) -> float:
    left, limit = context.time_remaining(), current_call.get().limit
    return min(_LONGEST_SECONDS, (limit if left is None else min(left, limit)) * _OF_THE_TIME)


async def _resources(
    reach: ConnectorReach, visible: Visible, only: ResourceId | None, after: Place | None
) -> list[common_pb2.Resource]:
    """Returns as many resources of a connector as a page that begins `after` can need, and one more to tell of others.

    Messages are dear, so that no others are made; and whoever else is served gets a turn after some of them.
    """
    connector = reach.connector
    entry = connector.name, _number(connector)
    if after is not None and entry < after[:2]:
        return []  # Earlier pages had it.
    rows: list[tuple[str, str, Container, str]] = []
    async for some in slices(reach.containers):
        rows += [
            (container.account, str(container.inside(scope)), container, scope)
            for container in some
            for scope in visible.scopes(connector, container.inside(only.prefix if only else ""))
        ]
    rows.sort(key=_PLACE)
    start = bisect_right(rows, after[2:], key=_PLACE) if after is not None and entry == after[:2] else 0
    resources: list[common_pb2.Resource] = []
    async for few in slices(rows[start : start + MOST_RESOURCES + 1]):
        resources += [resource_message(container, scope) for _, _, container, scope in few]
    return resources


def _number(connector: Connector) -> common_pb2.ResourceType.ValueType:
    """Returns the number of the one type of a connector that is looked at type by type."""
    number: common_pb2.ResourceType.ValueType = RESOURCE_TYPES.to_proto[connector.resource_types[0]]
    return number


def _message(reach: ConnectorReach, resources: Sequence[common_pb2.Resource]) -> pb.ConnectorResources:
    connector = reach.connector
    message = pb.ConnectorResources(
        connector_uid=connector.uid,
        connector=connector.name,
        connector_type=CONNECTOR_TYPES.to_proto[connector.type],
        resource_type=_number(connector),
        resources=resources,
    )
    sees_accounts = caller().has_any(_MAY_SEE_ACCOUNTS)
    if sees_accounts:
        message.account_errors.extend(account_error_messages(reach.errors))
    elif reach.errors:
        message.incomplete = True
    if reach.error is not None:
        named = sees_accounts or connector.resource is not None
        told = told_to(caller(), reach.error if named else account_not_searched(reach.error))
        message.error.CopyFrom(detail(told, current_call.get().request_id))
        message.error_message = told.message
    return message
