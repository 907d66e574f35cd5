"""Every RPC and the roles it needs. A method that is not listed is refused; a test walks the API to find such."""

from collections.abc import Mapping
from enum import Enum

from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Principal, Role


class Access(Enum):
    """What a method needs when it needs no role."""

    PUBLIC = "anyone"
    AUTHENTICATED = "any authenticated caller"


_ADMIN = frozenset({Role.ADMIN})
_OPERATOR = frozenset({Role.ADMIN, Role.OPERATOR})
_VIEWER = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})
_AUDITOR = frozenset({Role.ADMIN, Role.AUDITOR})
_READS_GRANTS_AND_LEASES = frozenset({Role.ADMIN, Role.OPERATOR, Role.AUDITOR})

METHODS: Mapping[str, frozenset[Role] | Access] = {
    # Tokens need no role, and no role gives any: grants do (authz/policy.py).
    "/valetkey.v1.TokenService/IssueToken": Access.AUTHENTICATED,
    "/valetkey.v1.TokenService/WatchToken": Access.AUTHENTICATED,
    "/valetkey.v1.ConnectorService/CreateConnector": _OPERATOR,
    "/valetkey.v1.ConnectorService/GetConnector": _VIEWER,
    "/valetkey.v1.ConnectorService/ListConnectors": _VIEWER,
    "/valetkey.v1.ConnectorService/DeleteConnector": _OPERATOR,
    "/valetkey.v1.ConnectorService/VerifyConnector": _OPERATOR,
    # Shows those without a role what their grants let them use, which may be nothing.
    "/valetkey.v1.ResourceService/ListResources": Access.AUTHENTICATED,
    "/valetkey.v1.GrantService/CreateGrant": _ADMIN,
    "/valetkey.v1.GrantService/GetGrant": _READS_GRANTS_AND_LEASES,
    "/valetkey.v1.GrantService/ListGrants": _READS_GRANTS_AND_LEASES,
    "/valetkey.v1.GrantService/UpdateGrant": _ADMIN,
    "/valetkey.v1.GrantService/DeleteGrant": _ADMIN,
    # Everybody may explain their own access; authz/explain.py holds who may explain that of others.
    "/valetkey.v1.GrantService/ExplainAccess": Access.AUTHENTICATED,
    "/valetkey.v1.LedgerService/ListLeases": _READS_GRANTS_AND_LEASES,
    "/valetkey.v1.LedgerService/ListEvents": _AUDITOR,
    "/valetkey.v1.LedgerService/VerifyLedger": _AUDITOR,
    "/valetkey.v1.ApiKeyService/CreateApiKey": _ADMIN,
    "/valetkey.v1.ApiKeyService/ListApiKeys": _ADMIN,
    "/valetkey.v1.ApiKeyService/RevokeApiKey": _ADMIN,
    # Load balancers and Kubernetes probes carry no credentials; the answer is one enum.
    "/grpc.health.v1.Health/Check": Access.PUBLIC,
    "/grpc.health.v1.Health/List": Access.PUBLIC,
    "/grpc.health.v1.Health/Watch": Access.PUBLIC,
    # The shape of the API is nobody's business who has no key.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Access.AUTHENTICATED,
}


def needed(method: str) -> frozenset[Role] | Access:
    """Returns what a method needs. Raises ROLE_REQUIRED for one that nobody thought of."""
    try:
        return METHODS[method]
    except KeyError:
        raise BrokerError(
            Reason.ROLE_REQUIRED, "nobody may call this method", {"method": method, "needs": "nobody"}
        ) from None


def require_role(principal: Principal, method: str, roles: frozenset[Role]) -> None:
    """Raises ROLE_REQUIRED where `principal` holds none of `roles`."""
    if principal.roles.isdisjoint(roles):
        wanted = " or ".join(sorted(role.value for role in roles))
        raise BrokerError(
            Reason.ROLE_REQUIRED,
            f"{principal.name} may not call {method.rpartition('/')[2]}; it needs the role {wanted}",
            {"method": method, "needs": wanted},
        )
