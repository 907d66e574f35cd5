"""Connectors as people and scripts see them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from valetkey.cli.checklist_views import checks_json
from valetkey.cli.resource_views import reached_json
from valetkey.cli.rotation_views import schedule_json, schedule_words
from valetkey.cli.screen import Screen
from valetkey.durations import show_duration
from valetkey.times import utc
from valetkey.values import Connector, ConnectorHealth, CreatedConnector


def state(connector: Connector) -> str:
    """Returns what is out of the ordinary with a connector: `unverified`, `expired`, `unhealthy`; empty for nothing."""
    words = {
        "unverified": connector.unverified,
        "expired": connector.expired(datetime.now(UTC)),
        "unhealthy": connector.health is not None and not connector.health.healthy,
    }
    return ", ".join(word for word, holds in words.items() if holds)


def _labels(connector: Connector) -> str:
    return ", ".join(f"{key}={value}" if value else key for key, value in sorted(connector.labels.items()))


def _types(connector: Connector) -> str:
    types = ", ".join(connector.resource_types)
    return types if connector.resource_type else f"all types ({types})"


_COLUMNS: Sequence[tuple[str, Callable[[Connector], str]]] = (
    ("NAME", lambda connector: connector.name),
    ("ID", lambda connector: connector.uid),
    ("TYPE", lambda connector: connector.type),
    ("AUTH METHOD", lambda connector: connector.auth_method),
    (
        "RESOURCE TYPES",
        lambda connector: "\n".join(connector.resource_types) if connector.resource_type else "all types",
    ),
    ("RESOURCE NAME", lambda connector: connector.resource_id or "<all it reaches>"),
    ("LABELS", _labels),
    ("STATE", state),
    ("ROTATED EVERY", lambda connector: schedule_words(connector.rotation_schedule)),
    ("CREATED", lambda connector: utc(connector.create_time)),
)
# Most connectors have none of it: then nobody needs the column.
_SELDOM = ("LABELS", "STATE", "ROTATED EVERY")


def print_connectors(screen: Screen, connectors: Sequence[Connector]) -> None:
    """Prints a table of connectors."""
    columns = [(head, cell) for head, cell in _COLUMNS if head not in _SELDOM or any(cell(each) for each in connectors)]
    screen.table([head for head, _ in columns], [[cell(each) for _, cell in columns] for each in connectors])


def print_connector(screen: Screen, connector: Connector) -> None:
    """Prints one connector; what has no value is left out."""
    ends, skew = connector.expire_time, connector.expires_skew_tolerance
    azure = [(name.replace("_", " "), value) for name, value in connector_json(connector)["azure"].items()]
    screen.properties(
        [
            ("name", connector.name),
            ("id", connector.uid),
            ("description", connector.description),
            ("labels", _labels(connector)),
            ("state", state(connector)),
            ("type", connector.type),
            ("auth method", connector.auth_method),
            ("secret", connector.authentication_secret),
            ("resource types", _types(connector)),
            ("resource name", connector.resource_id or "<all it reaches>"),
            *azure,
            ("credential version", str(connector.credential_version)),
            ("credential expires", utc(ends) if ends else ""),
            ("expires skew tolerance", show_duration(skew) if skew is not None else ""),
            ("rotated every", schedule_words(connector.rotation_schedule)),
            ("created", utc(connector.create_time)),
            ("created by", connector.created_by),
            *_health(connector.health),
        ]
    )


def _health(health: ConnectorHealth | None) -> Sequence[tuple[str, str]]:
    if health is None:
        return []
    word = "accepted" if health.healthy else "refused"
    return [
        ("credential", f"{word} by the cloud since {utc(health.since_time)}"),
        ("refused because", health.message),
        ("mend it with", health.mend),
    ]


def created_json(created: CreatedConnector) -> dict[str, Any]:
    """Returns a connector that was registered or changed, what it reaches, and what was checked."""
    told = {"warnings": list(created.warnings), "checks": checks_json(created.resources.checks)}
    return {"connector": connector_json(created.connector), **reached_json(created.resources), **told}


def connector_json(connector: Connector) -> dict[str, Any]:
    """Returns a connector as a JSON object; there is no secret in it."""
    health = connector.health
    return {
        "name": connector.name,
        "id": connector.uid,
        "type": connector.type,
        "auth_method": connector.auth_method,
        "resource_type": connector.resource_type,
        "resource_types": list(connector.resource_types),
        "resource_id": connector.resource_id,
        "azure": {
            "tenant_id": connector.azure.tenant_id,
            "client_id": connector.azure.client_id,
            "cloud": connector.azure.cloud,
            "storage_account": connector.azure.storage_account,
            "subscription_id": connector.azure.subscription_id,
            "resource_group": connector.azure.resource_group,
            "implicit_source": connector.azure.implicit_source,
        },
        "credential_version": connector.credential_version,
        "create_time": utc(connector.create_time),
        "created_by": connector.created_by,
        "description": connector.description,
        "labels": dict(connector.labels),
        "expire_time": utc(connector.expire_time) if connector.expire_time else None,
        "expires_skew_tolerance": _seconds(connector.expires_skew_tolerance),
        "unverified": connector.unverified,
        "authentication_secret": connector.authentication_secret,
        "rotation_schedule": schedule_json(connector.rotation_schedule),
        "state": state(connector),
        "health": health and {**asdict(health), "since_time": utc(health.since_time)},
    }


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else int(span.total_seconds())
