"""What operators took back, held against what grants allow."""

from collections.abc import Sequence

from valetkey_broker.authz.compiled_grants import Route
from valetkey_broker.errors import BrokerError, access_revoked
from valetkey_broker.model import Connector, Container, Grant, Principal, ResourceId
from valetkey_broker.model.revocation import Revocation, TokenUseFacts


def facts(
    principal: Principal, grant: Grant, connector: Connector, resource: ResourceId, account: str = ""
) -> TokenUseFacts:
    """Returns what a token would be: its account where that is known."""
    own = connector.resource
    known = account or resource.account or (own.account if own is not None else "") or connector.azure.storage_account
    return TokenUseFacts(principal.name, grant.name, connector.name, known or "", resource.container, resource.prefix)


def covering(in_force: Sequence[Revocation], token: TokenUseFacts) -> Revocation | None:
    """Returns the revocation that covers a token; of several the first that was made."""
    return next((each for each in in_force if each.target.covers(token)), None)


def without_revoked(
    in_force: Sequence[Revocation], route: Route, principal: Principal, connector: Connector, resource: ResourceId
) -> tuple[Route, Revocation | None]:
    """Returns a route with those of its grants that no revocation covers, and a revocation that covers another.

    One of a single account covers nothing as long as nobody knows the account: `check_container` looks again.
    """
    covered = {
        grant.name: covering(in_force, facts(principal, grant.grant, connector, resource)) for grant in route.grants
    }
    left = [grant for grant in route.grants if covered[grant.name] is None]
    return Route(route.connector, route.uid, left), next(filter(None, covered.values()), None)


def check_container(
    in_force: Sequence[Revocation],
    principal: Principal,
    grant: Grant,
    connector: Connector,
    container: Container,
    resource: ResourceId,
) -> None:
    """Raises ACCESS_REVOKED where a token for `resource`, which lies in `container`, is covered."""
    token = facts(principal, grant, connector, resource, container.account)
    if (revocation := covering(in_force, token)) is not None:
        raise refused(resource, revocation)


def refused(resource: ResourceId, revocation: Revocation) -> BrokerError:
    """Returns what a caller is told whom a revocation covers."""
    return access_revoked(resource, revocation.name, revocation.created_by, revocation.reason)
