"""Every RPC and the roles it needs. A method that is not listed is refused; a test walks the API to find such."""

from collections.abc import Mapping
from enum import Enum

from broker.errors import BrokerError, Reason
from broker.model import Principal, Role


class Access(Enum):
    """What a method needs when it needs no role."""

    PUBLIC = "anyone"
    AUTHENTICATED = "any authenticated caller"


_ADMIN = frozenset({Role.ADMIN})
_OPERATOR = frozenset({Role.ADMIN, Role.OPERATOR})
_VIEWER = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})
_CONSUMER = frozenset({Role.ADMIN, Role.CONSUMER})

METHODS: Mapping[str, frozenset[Role] | Access] = {
    "/valetkey.v1.TokenService/IssueToken": _CONSUMER,
    "/valetkey.v1.ConnectorService/CreateConnector": _OPERATOR,
    "/valetkey.v1.ConnectorService/GetConnector": _VIEWER,
    "/valetkey.v1.ConnectorService/ListConnectors": _VIEWER,
    "/valetkey.v1.ConnectorService/DeleteConnector": _OPERATOR,
    "/valetkey.v1.ConnectorService/VerifyConnector": _OPERATOR,
    "/valetkey.v1.ResourceService/ListResources": _VIEWER | _CONSUMER,
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
