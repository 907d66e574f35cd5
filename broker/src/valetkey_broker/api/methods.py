"""Every RPC, one row each: who may call it, what it changes, what it costs. A test holds the rows against the API.

A method without a row is refused to everybody.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from valetkey.v1 import credential_service_pb2
from valetkey_broker.api.change_summaries import (
    api_key_rotation_summary,
    api_key_summary,
    connector_summary,
    connector_update_summary,
    grant_summary,
    renamed_secret_summary,
    revocation_summary,
    rotation_summary,
    schedule_summary,
    secret_summary,
)
from valetkey_broker.api.convert import PERMISSIONS
from valetkey_broker.api.pasted_secrets import recordable_name, recordable_secret_name
from valetkey_broker.api.token_batch import MOST_REQUESTS
from valetkey_broker.limits import Bucket
from valetkey_broker.model import Permission, Role, rotation_path
from valetkey_broker.rpc.method import Access, Asked, Method, Methods

_ADMIN = frozenset({Role.ADMIN})
_OPERATOR = frozenset({Role.ADMIN, Role.OPERATOR})
_VIEWER = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})
_AUDITOR = frozenset({Role.ADMIN, Role.AUDITOR})
_READS_GRANTS_AND_LEASES = frozenset({Role.ADMIN, Role.OPERATOR, Role.AUDITOR})

_PERMISSIONS_BY_NUMBER = {number: permission for permission, number in PERMISSIONS.to_proto.items()}


def _named(folder: str) -> Callable[[Any], str]:
    """Gives the object that a request names itself."""
    told = recordable_secret_name if folder == "secrets" else recordable_name
    return lambda request: f"{folder}/{told(request.name)}"


def _rotation(request: Any) -> str:
    if request.holder == credential_service_pb2.CREDENTIAL_HOLDER_SECRET:
        return rotation_path(f"secrets/{recordable_secret_name(request.name)}")
    return rotation_path(f"connectors/{recordable_name(request.name)}")


def _scheduled(request: Any) -> str:
    if request.holder == credential_service_pb2.CREDENTIAL_HOLDER_SECRET:
        return f"secrets/{recordable_secret_name(request.name)}"
    return f"connectors/{recordable_name(request.name)}"


def _grant(request: Any) -> str:
    return f"grants/{recordable_name(request.grant.name)}"


def _asked(request: Any) -> Asked:
    """Returns what a request asks for; not every one has all of these fields."""
    given = {_PERMISSIONS_BY_NUMBER.get(number) for number in getattr(request, "permissions", ())}
    return Asked(
        connector=getattr(request, "connector", ""),
        resource=getattr(request, "resource_id", ""),
        permissions="".join(permission.value for permission in Permission if permission in given),
        purpose=getattr(request, "purpose", ""),
    )


def _asked_of_candidate(request: Any) -> Asked:
    return _asked(request.candidate)


def _asked_of_target(request: Any) -> Asked:
    return _asked(request.target)


def _asked_of_stream(request: Any) -> Asked:
    return _asked(request.request)


def _asked_of_many(request: Any) -> Asked:
    """Returns what the first of many requests asks for, and of how many it is the first."""
    if not request.requests:
        return Asked()
    first = _asked(request.requests[0])
    others = len(request.requests) - 1
    return replace(first, resource=f"{first.resource} and {others} more") if others else first


def _how_many(request: Any) -> int:
    # More are refused anyway.
    return min(max(len(request.requests), 1), MOST_REQUESTS)


METHODS: Methods = {
    # Tokens need no role, and no role gives any: grants do (authz/policy.py). The ledger says all about each of them.
    "/valetkey.v1.TokenService/IssueToken": Method(
        Access.AUTHENTICATED, bucket=Bucket.ISSUING, catches_up=False, quiet=True, asked=_asked
    ),
    # Each token in it is recorded, and so is each that is refused.
    "/valetkey.v1.TokenService/IssueTokens": Method(
        Access.AUTHENTICATED,
        bucket=Bucket.ISSUING,
        cost=_how_many,
        catches_up=False,
        quiet=True,
        asked=_asked_of_many,
    ),
    "/valetkey.v1.TokenService/WatchToken": Method(
        Access.AUTHENTICATED, bucket=Bucket.ISSUING, catches_up=False, asked=_asked_of_stream
    ),
    "/valetkey.v1.ConnectorService/CreateConnector": Method(
        _OPERATOR, change=_named("connectors"), summary=connector_summary, asked=_asked
    ),
    "/valetkey.v1.ConnectorService/GetConnector": Method(_VIEWER),
    "/valetkey.v1.ConnectorService/ListConnectors": Method(_VIEWER),
    # One that makes grants mean something else needs an admin besides: connectors/grant_redirection_check.py.
    "/valetkey.v1.ConnectorService/UpdateConnector": Method(
        _OPERATOR, change=_named("connectors"), summary=connector_update_summary, asked=_asked
    ),
    "/valetkey.v1.ConnectorService/DeleteConnector": Method(_OPERATOR, change=_named("connectors")),
    "/valetkey.v1.ConnectorService/VerifyConnector": Method(_OPERATOR, asked=_asked),
    "/valetkey.v1.ConnectorService/DropSigningKeys": Method(_OPERATOR, change=_named("connectors")),
    # Uses a credential that is stored nowhere, and changes nothing.
    "/valetkey.v1.ConnectorService/CheckConnector": Method(_OPERATOR, asked=_asked_of_candidate),
    # Says what the documentation says; forms and wizards of everybody are made from it.
    "/valetkey.v1.ConnectorService/ListConnectorTypes": Method(Access.AUTHENTICATED),
    "/valetkey.v1.SecretService/CreateSecret": Method(_OPERATOR, change=_named("secrets"), summary=secret_summary),
    # Which secrets there are, and who uses them. What they hold, no method tells anybody.
    "/valetkey.v1.SecretService/GetSecret": Method(_VIEWER),
    "/valetkey.v1.SecretService/ListSecrets": Method(_VIEWER),
    "/valetkey.v1.SecretService/UpdateSecret": Method(_OPERATOR, change=_named("secrets"), summary=secret_summary),
    "/valetkey.v1.SecretService/RenameSecret": Method(
        _OPERATOR, change=_named("secrets"), summary=renamed_secret_summary
    ),
    "/valetkey.v1.SecretService/DeleteSecret": Method(_OPERATOR, change=_named("secrets")),
    # One that makes grants mean something else needs an admin besides, as UpdateConnector does.
    "/valetkey.v1.CredentialService/RotateCredential": Method(_OPERATOR, change=_rotation, summary=rotation_summary),
    "/valetkey.v1.CredentialService/GetRotation": Method(_VIEWER),
    "/valetkey.v1.CredentialService/AbortRotation": Method(_OPERATOR, change=_rotation),
    "/valetkey.v1.CredentialService/RollbackCredential": Method(_OPERATOR, change=_rotation),
    # Asks the provider whether it would make one, and changes nothing there.
    "/valetkey.v1.CredentialService/SetRotationSchedule": Method(
        _OPERATOR, change=_scheduled, summary=schedule_summary
    ),
    "/valetkey.v1.CredentialService/ListCredentialVersions": Method(_VIEWER),
    # Shows those without a role what their grants let them use, which may be nothing.
    "/valetkey.v1.ResourceService/ListResources": Method(Access.AUTHENTICATED, asked=_asked),
    "/valetkey.v1.GrantService/CreateGrant": Method(_ADMIN, change=_grant, summary=grant_summary),
    "/valetkey.v1.GrantService/GetGrant": Method(_READS_GRANTS_AND_LEASES),
    "/valetkey.v1.GrantService/ListGrants": Method(_READS_GRANTS_AND_LEASES),
    "/valetkey.v1.GrantService/UpdateGrant": Method(_ADMIN, change=_grant, summary=grant_summary),
    "/valetkey.v1.GrantService/DeleteGrant": Method(_ADMIN, change=_named("grants")),
    # Everybody may explain their own access; authz/explain.py holds who may explain that of others.
    "/valetkey.v1.GrantService/ExplainAccess": Method(Access.AUTHENTICATED, asked=_asked),
    "/valetkey.v1.LedgerService/ListLeases": Method(_READS_GRANTS_AND_LEASES, asked=_asked),
    "/valetkey.v1.LedgerService/ListEvents": Method(_AUDITOR, asked=_asked),
    "/valetkey.v1.LedgerService/VerifyLedger": Method(_AUDITOR),
    # Everybody may ask of their own tokens; issuing/diagnosis.py holds who may ask of those of others.
    "/valetkey.v1.LedgerService/DiagnoseToken": Method(Access.AUTHENTICATED),
    # Says of callers what their own proof says.
    "/valetkey.v1.IdentityService/WhoAmI": Method(Access.AUTHENTICATED),
    # Comes before any identity, and tells what the issuer tells everybody, too: public clients have no secret.
    # Quiet, as all that nobody has to prove themselves for: strangers must not fill the log.
    "/valetkey.v1.LoginService/GetLoginSettings": Method(Access.PUBLIC, quiet=True),
    # The emergency brake is an operator's, who can take a connector's credential away as well; lifting it gives nobody
    # more than grants do.
    "/valetkey.v1.RevocationService/PreviewRevocation": Method(_OPERATOR, asked=_asked_of_target),
    "/valetkey.v1.RevocationService/CreateRevocation": Method(
        _OPERATOR, change=_named("revocations"), summary=revocation_summary, asked=_asked_of_target
    ),
    "/valetkey.v1.RevocationService/ListRevocations": Method(_READS_GRANTS_AND_LEASES),
    "/valetkey.v1.RevocationService/LiftRevocation": Method(_OPERATOR, change=_named("revocations")),
    "/valetkey.v1.ApiKeyService/CreateApiKey": Method(_ADMIN, change=_named("api-keys"), summary=api_key_summary),
    "/valetkey.v1.ApiKeyService/ListApiKeys": Method(_ADMIN),
    "/valetkey.v1.ApiKeyService/RotateApiKey": Method(
        _ADMIN, change=_named("api-keys"), summary=api_key_rotation_summary
    ),
    "/valetkey.v1.ApiKeyService/RevokeApiKey": Method(_ADMIN, change=_named("api-keys")),
    # What ends is no secret to those who look after the broker, names of keys included; how it is mended neither.
    "/valetkey.v1.ExpiryService/ListExpiring": Method(_VIEWER),
    # For all who look after the broker or look into what happened. Consumers are told no more than that it is away.
    # It tells of an outage, and must not wait for Vault.
    "/valetkey.v1.ExpiryService/GetIssuingLeft": Method(_VIEWER | _AUDITOR, catches_up=False),
    # Load balancers and Kubernetes probes carry no credentials; the answer is one enum, every few seconds.
    "/grpc.health.v1.Health/Check": Method(Access.PUBLIC, quiet=True),
    "/grpc.health.v1.Health/List": Method(Access.PUBLIC),
    "/grpc.health.v1.Health/Watch": Method(Access.PUBLIC, quiet=True),
    # The shape of the API is nobody's business who has no key.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Method(Access.AUTHENTICATED, catches_up=False),
}
