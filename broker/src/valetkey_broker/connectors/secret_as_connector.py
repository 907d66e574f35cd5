"""A named secret without the connectors that use it, as what asks the cloud wants it."""

from valetkey_broker.model import AzureConfig, Connector, NamedSecret


def as_connector(secret: NamedSecret) -> Connector:
    """Returns a connector that has nothing but the way in of a secret."""
    return secret.used_by(
        Connector(
            name=secret.name,
            uid=secret.uid,
            type=secret.type,
            auth_method="",
            resource_type=None,
            resource=None,
            azure=AzureConfig("", "", ""),
            credential_version=0,
            created_at=secret.created_at,
            created_by=secret.created_by,
        )
    )
