"""Domain values: immutable, validated where they are made, free of I/O. Imports nothing else of the broker."""

from valetkey_broker.model.api_key import ApiKey, EarlierDigest, api_key_digest, new_api_key
from valetkey_broker.model.blob_container import BLOB_CONTAINER, check_prefix, is_container_name
from valetkey_broker.model.call_info import CallInfo
from valetkey_broker.model.checklist_line import Check, CheckOutcome
from valetkey_broker.model.cloud_profile import CloudProfile, ImplicitSource
from valetkey_broker.model.connector import (
    AzureConfig,
    Connector,
    ConnectorType,
    CredentialOrigin,
    PreviousWay,
    RotationSchedule,
)
from valetkey_broker.model.credential import Credential, CredentialField, CredentialValue
from valetkey_broker.model.errors import InvalidFieldError
from valetkey_broker.model.event import (
    MOST_DETAIL_CHARACTERS,
    MOST_DETAILS,
    Event,
    EventFilter,
    EventKind,
    Head,
    LeaseFilter,
    StoredEvent,
    Verification,
    check_details,
    cut,
    details_of,
)
from valetkey_broker.model.grant import CONSUMER_PERMISSIONS, ConsumerRole, Grant, GrantedConnector
from valetkey_broker.model.lease import Lease, TtlLimit, parse_source_ip
from valetkey_broker.model.named_secret import NamedSecret
from valetkey_broker.model.names import check_account, check_name, check_secret_name, check_uuid
from valetkey_broker.model.pattern import ContainerPattern, Pattern
from valetkey_broker.model.permission import OF_HIERARCHY, Permission, PermissionSet
from valetkey_broker.model.principal import Evidence, Principal, Role, Standing
from valetkey_broker.model.principal_pattern import check_principal, principal_pattern, too_many, voucher
from valetkey_broker.model.resource import RESOURCE_TYPES, Container, ResourceId
from valetkey_broker.model.resource_type import ParsedId, ResourceType
from valetkey_broker.model.rotation import NewWay, Rotation, RotationState, rotated_object, rotation_path
from valetkey_broker.model.scope import Scope, ScopeKind, TokenUse
from valetkey_broker.model.secret import Secret
from valetkey_broker.model.signing import SasRequest, SignedToken, SigningKey

__all__ = [
    "BLOB_CONTAINER",
    "CONSUMER_PERMISSIONS",
    "MOST_DETAILS",
    "MOST_DETAIL_CHARACTERS",
    "OF_HIERARCHY",
    "RESOURCE_TYPES",
    "ApiKey",
    "AzureConfig",
    "CallInfo",
    "Check",
    "CheckOutcome",
    "CloudProfile",
    "Connector",
    "ConnectorType",
    "ConsumerRole",
    "Container",
    "ContainerPattern",
    "Credential",
    "CredentialField",
    "CredentialOrigin",
    "CredentialValue",
    "EarlierDigest",
    "Event",
    "EventFilter",
    "EventKind",
    "Evidence",
    "Grant",
    "GrantedConnector",
    "Head",
    "ImplicitSource",
    "InvalidFieldError",
    "Lease",
    "LeaseFilter",
    "NamedSecret",
    "NewWay",
    "ParsedId",
    "Pattern",
    "Permission",
    "PermissionSet",
    "PreviousWay",
    "Principal",
    "ResourceId",
    "ResourceType",
    "Role",
    "Rotation",
    "RotationSchedule",
    "RotationState",
    "SasRequest",
    "Scope",
    "ScopeKind",
    "Secret",
    "SignedToken",
    "SigningKey",
    "Standing",
    "StoredEvent",
    "TokenUse",
    "TtlLimit",
    "Verification",
    "api_key_digest",
    "check_account",
    "check_details",
    "check_name",
    "check_prefix",
    "check_principal",
    "check_secret_name",
    "check_uuid",
    "cut",
    "details_of",
    "is_container_name",
    "new_api_key",
    "parse_source_ip",
    "principal_pattern",
    "rotated_object",
    "rotation_path",
    "too_many",
    "voucher",
]
