"""Domain values: immutable, validated where they are made, free of I/O. Imports nothing else of the broker."""

from broker.model.api_key import ApiKey, Principal, Role, api_key_digest, new_api_key
from broker.model.cloud import CloudProfile
from broker.model.connector import AuthMethod, AzureConfig, Connector, ConnectorType, Credential
from broker.model.invalid import InvalidFieldError
from broker.model.lease import DelegationKey, Lease, SasRequest, parse_source_ip
from broker.model.names import check_account, check_name, check_uuid
from broker.model.permission import Permission, PermissionSet
from broker.model.resource import Container, ResourceId, ResourceType
from broker.model.secret import Secret

__all__ = [
    "ApiKey",
    "AuthMethod",
    "AzureConfig",
    "CloudProfile",
    "Connector",
    "ConnectorType",
    "Container",
    "Credential",
    "DelegationKey",
    "InvalidFieldError",
    "Lease",
    "Permission",
    "PermissionSet",
    "Principal",
    "ResourceId",
    "ResourceType",
    "Role",
    "SasRequest",
    "Secret",
    "api_key_digest",
    "check_account",
    "check_name",
    "check_uuid",
    "new_api_key",
    "parse_source_ip",
]
