"""What differs between a connector as a file has it and as it is."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from valetkey.cli.as_code.desired_state import ConnectorDocument
from valetkey.cli.as_code.resource_ids import canonical_resource
from valetkey.durations import show_duration
from valetkey.errors import InvalidArgumentError
from valetkey.rotation_values import RotationSchedule
from valetkey.times import utc
from valetkey.values import Connector

# What a connector loses when a file does not name it; the rest is the broker's to fill in.
_DECLARED = ("subscription_id", "resource_group")


@dataclass(frozen=True, slots=True)
class Change:
    """One field of an object, before and after, as people read it."""

    field: str
    before: str
    after: str


Differences: TypeAlias = tuple[list[Change], dict[str, Any], list[str]]
"""What differs, the arguments of the update that mends it, and the fields that it takes away."""


def differences(document: ConnectorDocument, there: Connector, labels: Mapping[str, str]) -> Differences:
    """Returns what differs, the arguments of the update that mends it, and the fields that it takes away."""
    _check_kind(document, there)
    found: list[Change] = []
    arguments: dict[str, Any] = {}
    remove: list[str] = []
    azure: dict[str, str] = {}
    config = asdict(there.azure)
    for key, text in document.config.items():
        if text.lower() != str(config.get(key, "")).lower():
            azure[key] = text
            found.append(Change(key, str(config.get(key, "")), text))
    for key in _DECLARED:
        if config[key] and key not in document.config:
            remove.append(key)
            found.append(Change(key, config[key], ""))
    if document.auth_method is not None and document.auth_method.value != there.auth_method:
        arguments["auth_method"] = document.auth_method.value
        found.append(Change("auth_method", there.auth_method, document.auth_method.value))
    # A secret cannot be compared. It is sent where what it belongs to changes.
    if "auth_method" in arguments or {"tenant_id", "client_id"} & azure.keys():
        arguments["secrets"] = document.secrets
        found += [Change(key, "<secret>", reference.text) for key, reference in document.secrets.items()]
    if document.resource_type and document.resource_type != there.resource_type:
        arguments["resource_type"] = document.resource_type
        found.append(Change("resource_type", there.resource_type or "all", document.resource_type))
    _one(found, arguments, remove, "resource_id", canonical_resource(there.resource_id)[0], document.resource_id, str)
    _differing_notes(document, there, labels, (found, arguments, remove))
    if azure:
        arguments["azure"] = azure
    return found, arguments, remove


def _differing_notes(
    document: ConnectorDocument, there: Connector, labels: Mapping[str, str], into: Differences
) -> None:
    found, arguments, remove = into
    _one(found, arguments, remove, "description", there.description, document.description, str)
    if document.schedule is None or document.expire_time:  # By itself, each rotation notes down another end.
        _one(found, arguments, remove, "expire_time", there.expire_time, document.expire_time, time_text)
    _one(
        found,
        arguments,
        remove,
        "expires_skew_tolerance",
        there.expires_skew_tolerance,
        document.expires_skew_tolerance,
        span,
    )
    if document.schedule != there.rotation_schedule:
        arguments["schedule"] = document.schedule
        found.append(Change("rotate_every", _every(there.rotation_schedule), _every(document.schedule)))
    if dict(labels) != dict(there.labels):
        arguments["labels"] = dict(labels)
        remove += [f"labels.{key}" for key in there.labels if key not in labels]
        found.append(Change("labels", pairs(there.labels), pairs(labels)))


def _check_kind(document: ConnectorDocument, there: Connector) -> None:
    """Raises InvalidArgumentError where the connector would have to be another one."""
    if document.connector_type != there.type:
        raise InvalidArgumentError(
            f"{document.place}: service connector {document.name} is of type {there.type}, and cannot become another; "
            "give the new one another name"
        )
    if document.authentication_secret != there.authentication_secret:
        raise InvalidArgumentError(
            f"{document.place}: service connector {document.name} uses "
            f"{there.authentication_secret or 'a secret of its own'}, and cannot be moved to another; delete it, and "
            "apply again: that ends its grants"
        )


def _one(
    found: list[Change],
    arguments: dict[str, Any],
    remove: list[str],
    name: str,
    before: Any,
    after: Any,
    show: Callable[[Any], str],
) -> None:
    # Files have whole seconds, and a connector's end may have parts of one: what reads alike is no difference.
    if (before or None) == (after or None) or (before and after and show(before) == show(after)):
        return
    found.append(Change(name, show(before) if before else "", show(after) if after else ""))
    if after:
        arguments[name] = after
    else:
        remove.append(name)


def pairs(given: Mapping[str, str]) -> str:
    """Returns names and values as people read them."""
    return ", ".join(f"{key}={value}" for key, value in sorted(given.items()))


def time_text(moment: datetime | None) -> str:
    """Returns a point in time as people read it; empty for none."""
    return utc(moment) if moment else ""


def _every(schedule: RotationSchedule | None) -> str:
    return "" if schedule is None else span(schedule.every) + (f" by {schedule.by}" if schedule.by else "")


def span(given: timedelta) -> str:
    """Returns a duration as people write it."""
    return show_duration(given)
