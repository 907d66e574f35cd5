"""Lists of resources in answers that have an end: a message may not be larger than 4 MiB, and containers are many."""

import base64
import binascii
from collections.abc import Sequence

from valetkey.v1 import common_pb2
from valetkey.v1 import resource_service_pb2 as pb
from valetkey_broker.api.convert import resource_messages
from valetkey_broker.model import Container, InvalidFieldError

MOST_RESOURCES = 5000
# Half of what a message may have: names, errors and what surrounds the resources come on top.
_MOST_BYTES = 2 * 1024 * 1024
_OVERHEAD_BYTES = 8

Entry = tuple[str, int]  # connector, number of the resource type
Place = tuple[str, int, str, str]  # and account, resource id


def resource_page(
    entries: Sequence[pb.ConnectorResources], size: int, token: str
) -> tuple[Sequence[pb.ConnectorResources], str]:
    """Returns one page of `entries` and the token of the next, empty on the last. Raises InvalidFieldError.

    `size` counts resources; 0 stands for as many as there may be. An entry that a page ends in goes on with the next
    one, without its errors.
    """
    if size < 0:
        raise InvalidFieldError("page_size", f"is {size}", f"1 to {MOST_RESOURCES}, or nothing for {MOST_RESOURCES}")
    last = place_of(token)
    left, room = min(size or MOST_RESOURCES, MOST_RESOURCES), _MOST_BYTES
    page: list[pb.ConnectorResources] = []
    for entry in sorted(entries, key=entry_of):
        began = last is not None and entry_of(entry) == last[:2]
        if last is not None and entry_of(entry) < last[:2]:
            continue
        rest = sorted(entry.resources, key=_place_in_entry)
        if began and last is not None:
            rest = [resource for resource in rest if _place_in_entry(resource) > last[2:]]
            if not rest:
                continue
        fitting, left, room = _fitting(rest, left, room)
        if rest and not fitting:
            return page, _encoded(last)
        page.append(_part(entry, fitting, began=began))
        last = (*entry_of(entry), *(_place_in_entry(fitting[-1]) if fitting else ("", "")))
        if len(fitting) < len(rest):
            return page, _encoded(last)
    return page, ""


def place_of(token: str) -> Place | None:
    """Returns where the page before ended; None for the first page. Raises InvalidFieldError."""
    if not token:
        return None
    try:
        parts = base64.b64decode(token, altchars=b"-_", validate=True).decode().split("\0")
        connector, resource_type, account, resource_id = parts
        return connector, int(resource_type), account, resource_id
    except (binascii.Error, ValueError):
        raise InvalidFieldError(
            "page_token", "was not made by this broker", "next_page_token of the page before"
        ) from None


def entry_of(entry: pb.ConnectorResources) -> Entry:
    """Returns what tells an entry from the others, in their order."""
    return entry.connector, entry.resource_type


def bounded(resources: Sequence[common_pb2.Resource]) -> tuple[Sequence[common_pb2.Resource], int]:
    """Returns as many resources as an answer without pages may hold, and how many were left out."""
    fitting, _, _ = _fitting(resources, MOST_RESOURCES, _MOST_BYTES)
    return fitting, len(resources) - len(fitting)


def shown_resources(containers: Sequence[Container]) -> tuple[Sequence[common_pb2.Resource], int]:
    """Returns messages of as many containers as an answer without pages may hold, and how many were left out."""
    shown, _ = bounded(resource_messages(containers[:MOST_RESOURCES]))
    return shown, len(containers) - len(shown)


def _fitting(
    resources: Sequence[common_pb2.Resource], left: int, room: int
) -> tuple[Sequence[common_pb2.Resource], int, int]:
    """Returns the first resources, at most `left` of `room` bytes, and what then is left of both."""
    count = 0
    for resource in resources[:left]:
        cost = resource.ByteSize() + _OVERHEAD_BYTES
        if cost > room:
            break
        count, room = count + 1, room - cost
    return resources[:count], left - count, room


def _part(
    entry: pb.ConnectorResources, resources: Sequence[common_pb2.Resource], *, began: bool
) -> pb.ConnectorResources:
    part = pb.ConnectorResources(
        connector_uid=entry.connector_uid,
        connector=entry.connector,
        connector_type=entry.connector_type,
        resource_type=entry.resource_type,
        resources=resources,
        incomplete=entry.incomplete,
    )
    if not began:
        part.account_errors.extend(entry.account_errors)
        part.error_message = entry.error_message
        if entry.HasField("error"):
            part.error.CopyFrom(entry.error)
    return part


def _place_in_entry(resource: common_pb2.Resource) -> tuple[str, str]:
    return resource.account, resource.resource_id


def _encoded(place: Place | None) -> str:
    return base64.urlsafe_b64encode("\0".join(map(str, place or ("", 0, "", ""))).encode()).decode("ascii")
