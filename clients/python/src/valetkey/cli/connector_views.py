"""A connector as JSON."""

from typing import Any

from valetkey.cli.times import utc
from valetkey.values import Connector


def connector_json(connector: Connector) -> dict[str, Any]:
    """Returns a connector as a JSON object; there is no secret in it."""
    return {
        "name": connector.name,
        "id": connector.uid,
        "type": connector.type,
        "auth_method": connector.auth_method,
        "resource_type": connector.resource_type,
        "resource_id": connector.resource_id,
        "azure": {
            "tenant_id": connector.azure.tenant_id,
            "client_id": connector.azure.client_id,
            "cloud": connector.azure.cloud,
            "storage_account": connector.azure.storage_account,
            "subscription_id": connector.azure.subscription_id,
            "resource_group": connector.azure.resource_group,
        },
        "credential_version": connector.credential_version,
        "create_time": utc(connector.create_time),
        "created_by": connector.created_by,
    }
