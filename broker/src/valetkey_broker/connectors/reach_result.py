"""What a connector reaches, account by account, and the errors of the accounts that could not be told."""

from collections.abc import Sequence
from dataclasses import dataclass

from valetkey_broker.errors import (
    BrokerError,
    Reason,
    account_not_searched,
    resource_ambiguous,
    resource_not_found,
    resource_not_reached,
)
from valetkey_broker.model import Connector, Container

PASSING = frozenset({Reason.CLOUD_THROTTLED, Reason.CLOUD_UNAVAILABLE, Reason.VAULT_UNAVAILABLE})
# So many containers are named in an error; more would bury it.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class AccountError:
    """Why one account could not be looked through; `account` is empty for a place that may hold several."""

    account: str
    error: BrokerError


@dataclass(frozen=True, slots=True)
class Reach:
    """The containers that a connector reaches, by account and name, and what could not be told."""

    containers: Sequence[Container]
    errors: Sequence[AccountError] = ()

    def require_any(self) -> "Reach":
        """Returns itself. Raises the error where nothing but errors was found."""
        if self.errors and not self.containers:
            raise worst(self.errors)
        return self


def worst(errors: Sequence[AccountError]) -> BrokerError:
    """Returns the error to show where only one can be: a passing one first, for nothing final is known then."""
    return min(errors, key=lambda each: each.error.reason not in PASSING).error


def own_container(connector: Connector, reach: Reach, *, name_others: bool = False) -> Container:
    """Returns the one container of a single-instance connector.

    Raises RESOURCE_NOT_FOUND where it is missing, RESOURCE_AMBIGUOUS where several accounts have it, or a passing error
    that may be why it was not found. With `name_others`, which is for operators only, the first says what there is
    instead.
    """
    wanted = connector.resource
    if wanted is None:
        raise AssertionError("a connector that serves all it reaches has no container of its own")
    found = [c for c in reach.containers if c.key == wanted.key and wanted.account in (None, c.account)]
    if len(found) > 1:
        raise resource_ambiguous(wanted, found)
    if found:
        return found[0]
    passing = [each for each in reach.errors if each.error.reason in PASSING]
    if passing or (reach.errors and not reach.containers):
        raise worst(reach.errors)
    near = ", ".join(c.resource_id for c in reach.containers[:_NAMED])
    more = ", …" if len(reach.containers) > _NAMED else ""
    instead = f"; it reaches {near or 'no container'}{more}" if name_others else ""
    raise resource_not_reached(connector.name, wanted, instead)


def not_found(resource: str, errors: Sequence[AccountError] = ()) -> BrokerError:
    """Returns the error for a container that nobody at hand reaches, or the passing one that may be the reason."""
    if any(each.error.reason in PASSING for each in errors):
        return account_not_searched(worst(errors))
    return resource_not_found(resource, len(errors))
