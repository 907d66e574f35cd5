"""Domain values: immutable, validated where they are made, free of I/O. Imports nothing else of the broker."""

from broker.model.api_key import ApiKey, api_key_digest, new_api_key
from broker.model.call import CallInfo
from broker.model.cloud import CloudProfile
from broker.model.connector import AuthMethod, AzureConfig, Connector, ConnectorType, Credential
from broker.model.event import Event, EventFilter, EventKind, Head, LeaseFilter, StoredEvent, Verification
from broker.model.grant import CONSUMER_PERMISSIONS, ConsumerRole, Grant, GrantedConnector
from broker.model.invalid import InvalidFieldError
from broker.model.lease import DelegationKey, Lease, SasRequest, SignedToken, parse_source_ip
from broker.model.names import check_account, check_name, check_uuid
from broker.model.pattern import Pattern
from broker.model.permission import Permission, PermissionSet
from broker.model.principal import Evidence, Principal, Role, Standing
from broker.model.resource import Container, ResourceId, ResourceType, check_prefix
from broker.model.secret import Secret

__all__ = [
    "CONSUMER_PERMISSIONS",
    "ApiKey",
    "AuthMethod",
    "AzureConfig",
    "CallInfo",
    "CloudProfile",
    "Connector",
    "ConnectorType",
    "ConsumerRole",
    "Container",
    "Credential",
    "DelegationKey",
    "Event",
    "EventFilter",
    "EventKind",
    "Evidence",
    "Grant",
    "GrantedConnector",
    "Head",
    "InvalidFieldError",
    "Lease",
    "LeaseFilter",
    "Pattern",
    "Permission",
    "PermissionSet",
    "Principal",
    "ResourceId",
    "ResourceType",
    "Role",
    "SasRequest",
    "Secret",
    "SignedToken",
    "Standing",
    "StoredEvent",
    "Verification",
    "api_key_digest",
    "check_account",
    "check_name",
    "check_prefix",
    "check_uuid",
    "new_api_key",
    "parse_source_ip",
]
