"""The services of the API, built from what they call."""

from collections.abc import Sequence
from dataclasses import dataclass

from valetkey.v1 import (
    api_key_service_pb2_grpc,
    connector_service_pb2_grpc,
    credential_service_pb2_grpc,
    expiry_service_pb2_grpc,
    grant_service_pb2_grpc,
    identity_service_pb2_grpc,
    ledger_service_pb2_grpc,
    login_service_pb2_grpc,
    resource_service_pb2_grpc,
    revocation_service_pb2_grpc,
    secret_service_pb2_grpc,
    token_service_pb2_grpc,
)
from valetkey_broker.api.api_key_service import ApiKeyService
from valetkey_broker.api.connector_service import ConnectorService
from valetkey_broker.api.credential_service import CredentialService
from valetkey_broker.api.expiry_service import ExpiryService
from valetkey_broker.api.grant_service import GrantService
from valetkey_broker.api.identity_service import IdentityService
from valetkey_broker.api.ledger_service import LedgerService
from valetkey_broker.api.login_service import LoginService
from valetkey_broker.api.methods import METHODS
from valetkey_broker.api.resource_service import ResourceService
from valetkey_broker.api.revocation_service import RevocationService
from valetkey_broker.api.secret_service import SecretService
from valetkey_broker.api.token_service import TokenService
from valetkey_broker.authn.api_key_admin import ApiKeyAdmin
from valetkey_broker.authz.explain import Explainer
from valetkey_broker.authz.grant_admin import GrantAdmin
from valetkey_broker.authz.policy import Policy
from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.connector_health import ConnectorHealth
from valetkey_broker.connectors.rotation_wiring import Rotating
from valetkey_broker.expiry.endings import Endings
from valetkey_broker.issuing.diagnosis import Diagnoser
from valetkey_broker.issuing.issuer import Issuer
from valetkey_broker.issuing.issuing_left_in_outage import IssuingLeft
from valetkey_broker.issuing.token_stream import TokenWatcher
from valetkey_broker.limits import Slots
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.revoking.wiring import Revoking
from valetkey_broker.rpc.call_recorder import Recorder
from valetkey_broker.rpc.service import Service
from valetkey_broker.settings import OidcSettings

_PACKAGE = "valetkey.v1"
_ISSUE_TOKEN = f"/{_PACKAGE}.TokenService/IssueToken"

SERVICE_NAMES = tuple(dict.fromkeys(path.split("/")[1] for path in METHODS if path.startswith(f"/{_PACKAGE}.")))
"""Full names of the API's own services; health and reflection are the transport's."""


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the services call.

    `streams` are the slots for open streams of tokens, by principal; `issuers` are those that vouch for callers.
    """

    issuer: Issuer
    watcher: TokenWatcher
    streams: Slots
    connector_admin: ConnectorAdmin
    health: ConnectorHealth
    endings: Endings
    issuing_left: IssuingLeft
    rotating: Rotating
    policy: Policy
    api_keys: ApiKeyAdmin
    grants: GrantAdmin
    explainer: Explainer
    diagnoser: Diagnoser
    revoking: Revoking
    ledger: Ledger
    recorder: Recorder
    clock: Clock
    issuers: Sequence[OidcSettings]


def build_services(use: UseCases) -> Sequence[Service]:
    """Returns every service of the API."""
    return (
        Service(
            f"{_PACKAGE}.TokenService",
            token_service_pb2_grpc.add_TokenServiceServicer_to_server,
            TokenService(use.issuer, use.watcher, use.streams, use.recorder, METHODS[_ISSUE_TOKEN], use.clock),
            end=use.watcher.stop,
        ),
        Service(
            f"{_PACKAGE}.ConnectorService",
            connector_service_pb2_grpc.add_ConnectorServiceServicer_to_server,
            ConnectorService(use.connector_admin, use.health, use.recorder),
        ),
        Service(
            f"{_PACKAGE}.SecretService",
            secret_service_pb2_grpc.add_SecretServiceServicer_to_server,
            SecretService(use.rotating.secrets, use.connector_admin, use.recorder),
        ),
        Service(
            f"{_PACKAGE}.CredentialService",
            credential_service_pb2_grpc.add_CredentialServiceServicer_to_server,
            CredentialService(use.rotating.rotations, use.rotating.automatic, use.rotating.schedules),
        ),
        Service(
            f"{_PACKAGE}.ResourceService",
            resource_service_pb2_grpc.add_ResourceServiceServicer_to_server,
            ResourceService(use.connector_admin, use.policy),
        ),
        Service(
            f"{_PACKAGE}.ApiKeyService",
            api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server,
            ApiKeyService(use.api_keys, use.clock),
        ),
        Service(
            f"{_PACKAGE}.IdentityService",
            identity_service_pb2_grpc.add_IdentityServiceServicer_to_server,
            IdentityService(),
        ),
        Service(
            f"{_PACKAGE}.LoginService",
            login_service_pb2_grpc.add_LoginServiceServicer_to_server,
            LoginService(use.issuers),
        ),
        Service(
            f"{_PACKAGE}.GrantService",
            grant_service_pb2_grpc.add_GrantServiceServicer_to_server,
            GrantService(use.grants, use.explainer),
        ),
        Service(
            f"{_PACKAGE}.LedgerService",
            ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server,
            LedgerService(use.ledger, use.clock, use.diagnoser, use.revoking.leases),
        ),
        Service(
            f"{_PACKAGE}.RevocationService",
            revocation_service_pb2_grpc.add_RevocationServiceServicer_to_server,
            RevocationService(use.revoking, use.clock),
        ),
        Service(
            f"{_PACKAGE}.ExpiryService",
            expiry_service_pb2_grpc.add_ExpiryServiceServicer_to_server,
            ExpiryService(use.endings, use.issuing_left),
        ),
    )
