"""Named secrets as people and scripts see them: nothing of their values."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from valetkey.cli.rotation_views import schedule_json, schedule_words
from valetkey.cli.screen import Screen
from valetkey.durations import show_age
from valetkey.named_secret_values import NamedSecret
from valetkey.times import utc

_SHOWN = 3


def print_secrets(screen: Screen, secrets: Sequence[NamedSecret]) -> None:
    """Prints a table of secrets."""
    now = datetime.now(UTC)
    screen.table(
        ["NAME", "AUTH METHOD", "ACCOUNT", "VERSION", "AGE", "USED BY"],
        [
            [
                each.name,
                each.auth_method,
                each.azure.storage_account,
                str(each.credential_version),
                show_age(now - each.update_time),
                _used_by(each, _SHOWN),
            ]
            for each in secrets
        ],
    )


def print_secret(screen: Screen, secret: NamedSecret) -> None:
    """Prints one secret; what has no value is left out."""
    azure = [(name.replace("_", " "), value) for name, value in secret_json(secret)["azure"].items()]
    screen.properties(
        [
            ("name", secret.name),
            ("id", secret.uid),
            ("type", secret.type),
            ("auth method", secret.auth_method),
            *azure,
            ("holds", ", ".join(secret.secret_fields)),
            ("credential version", str(secret.credential_version)),
            ("value since", f"{utc(secret.update_time)}, {show_age(datetime.now(UTC) - secret.update_time)} old"),
            ("value expires", utc(secret.expire_time) if secret.expire_time else ""),
            ("rotated every", schedule_words(secret.rotation_schedule)),
            ("given by", secret.updated_by),
            ("created", utc(secret.create_time)),
            ("created by", secret.created_by),
            ("used by", _used_by(secret, len(secret.connectors)) or "no connector"),
        ]
    )


def secret_json(secret: NamedSecret) -> dict[str, Any]:
    """Returns a secret as a JSON object, without its value."""
    azure = secret.azure
    return {
        "name": secret.name,
        "id": secret.uid,
        "type": secret.type,
        "auth_method": secret.auth_method,
        "azure": {
            "tenant_id": azure.tenant_id,
            "client_id": azure.client_id,
            "cloud": azure.cloud,
            "storage_account": azure.storage_account,
        },
        "secret_fields": list(secret.secret_fields),
        "credential_version": secret.credential_version,
        "update_time": utc(secret.update_time),
        "updated_by": secret.updated_by,
        "expire_time": utc(secret.expire_time) if secret.expire_time else None,
        "rotation_schedule": schedule_json(secret.rotation_schedule),
        "create_time": utc(secret.create_time),
        "created_by": secret.created_by,
        "connectors": list(secret.connectors),
        "connector_count": secret.connector_count,
    }


def _used_by(secret: NamedSecret, most: int) -> str:
    shown = secret.connectors[:most]
    more = secret.connector_count - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 and shown else "")
