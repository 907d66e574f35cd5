"""The words of the API as choices of options. A test holds them against the API's enums."""

from enum import StrEnum


class ConnectorType(StrEnum):
    """Kind of cloud."""

    AZURE = "azure"


class AuthMethod(StrEnum):
    """How a connector logs in."""

    SERVICE_PRINCIPAL = "service-principal"


class ResourceType(StrEnum):
    """What a connector gives access to."""

    BLOB_CONTAINER = "blob-container"


class Role(StrEnum):
    """What the holder of an API key may call."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    CONSUMER = "consumer"
