"""The calls of ResourceService: what connectors reach."""

from valetkey import convert, enums_and_times, values
from valetkey.calls.base import Asking, ask
from valetkey.v1 import resource_service_pb2 as pb


def list_resources(
    *,
    resource_type: str | None = None,
    connector: str | None = None,
    resource_id: str | None = None,
    refresh: bool = False,
) -> Asking[list[values.ConnectorResources]]:
    """Returns what each of the caller's connectors reaches, an entry for each resource type that it serves.

    One that fails has its error in its entry.

    With `refresh`, the broker asks the cloud now instead of taking what it said in the last two seconds. Raises
    PermissionDeniedError for callers who have none of the roles admin, operator and viewer.
    """
    request = pb.ListResourcesRequest(connector=connector or "", resource_id=resource_id or "", refresh=refresh)
    if resource_type:
        request.resource_type = enums_and_times.to_number(enums_and_times.RESOURCE_TYPE, resource_type, "resource_type")
    entries: dict[tuple[str, str, int], pb.ConnectorResources] = {}
    while True:
        answer = yield from ask(request, pb.ListResourcesResponse, repeatable=True)
        for entry in answer.connectors:
            # One that a page ends in goes on with the next.
            known = entries.setdefault(
                (entry.connector, entry.connector_uid, entry.resource_type), pb.ConnectorResources()
            )
            known.MergeFrom(entry)
        if not answer.next_page_token:
            return [convert.connector_resources(entry) for entry in entries.values()]
        request.page_token = answer.next_page_token
