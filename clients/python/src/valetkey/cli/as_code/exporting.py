"""Connectors and grants as YAML for `apply`: applied again, it changes nothing."""

from collections.abc import Iterable, Mapping
from typing import Any

from valetkey.cli.as_code.desired_state import OWNER
from valetkey.durations import show_duration
from valetkey.times import utc
from valetkey.values import Connector, Grant

_HEAD = """\
# Connectors and grants, for: valetkey apply -f FILE
# Secrets are never shown, and left out here. Where a connector has to be made, add its own, by reference:
# client_secret, client_certificate, account_key or connection_string: "@FILE" or $NAME.
"""


def exported(connectors: Iterable[Connector], grants: Iterable[Grant]) -> str:
    """Returns the YAML."""
    import yaml  # noqa: PLC0415 (only those who use it wait for it)

    content = {
        "connectors": [_connector(connector) for connector in connectors],
        "grants": [_grant(grant) for grant in grants],
    }
    return _HEAD + str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))


def _connector(connector: Connector) -> dict[str, Any]:
    shared = connector.authentication_secret
    azure, schedule = connector.azure, connector.rotation_schedule
    return _without_empty(
        {
            "name": connector.name,
            "auth_method": "" if shared else connector.auth_method,
            "authentication_secret": shared,
            "tenant_id": "" if shared else azure.tenant_id,
            "client_id": "" if shared else azure.client_id,
            "implicit_source": "" if shared else azure.implicit_source,
            "cloud": azure.cloud,
            "storage_account": azure.storage_account,
            "subscription_id": azure.subscription_id,
            "resource_group": azure.resource_group,
            "resource_type": connector.resource_type,
            "resource_id": connector.resource_id,
            "description": connector.description,
            "labels": _labels(connector.labels),
            "expires_at": utc(connector.expire_time) if connector.expire_time and not schedule else "",
            "expires_skew_tolerance": (
                show_duration(connector.expires_skew_tolerance) if connector.expires_skew_tolerance else ""
            ),
            "rotate_every": show_duration(schedule.every) if schedule else "",
            "rotate_by": schedule.by if schedule else "",
        }
    )


def _grant(grant: Grant) -> dict[str, Any]:
    return _without_empty(
        {
            "name": grant.name,
            "principals": list(grant.principals),
            "attributes": dict(grant.attributes),
            "connectors": [connector.name for connector in grant.connectors],
            "containers": list(grant.containers),
            "prefixes": list(grant.prefixes),
            "permissions": [] if grant.consumer_role else list(grant.permissions),
            "role": grant.consumer_role,
            "max_ttl": show_duration(grant.max_ttl) if grant.max_ttl else "",
            "source_ip": grant.source_ip,
            "expires_at": utc(grant.expire_time) if grant.expire_time else "",
            "note": grant.note,
            "labels": _labels(grant.labels),
        }
    )


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key != OWNER}


def _without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}
