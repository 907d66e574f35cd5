"""Errors about what admins and operators keep in the broker: connectors, API keys and grants."""

from collections.abc import Sequence

from valetkey_broker.errors.base import BrokerError, Reason

# So many connectors or grants are named; more would bury what the message says.
_MOST_NAMED = 10


def connector_not_found(name: str) -> BrokerError:
    """There is no connector of that name."""
    return BrokerError(Reason.CONNECTOR_NOT_FOUND, f"no connector is named {name}", {"connector": name})


def connector_exists(name: str) -> BrokerError:
    """The name of a new connector is taken."""
    message = (
        f"a connector named {name} exists already; choose another name, or change that one: valetkey service-connector "
        f"update {name}. To delete it would end its grants: they are not for a later one of its name"
    )
    return BrokerError(Reason.CONNECTOR_EXISTS, message, {"connector": name})


def secret_not_found(name: str) -> BrokerError:
    """There is no named secret of that name."""
    message = f"no secret is named {name}; valetkey secret list shows those there are"
    return BrokerError(Reason.SECRET_NOT_FOUND, message, {"secret": name})


def secret_exists(name: str) -> BrokerError:
    """The name of a new secret is taken."""
    message = f"a secret named {name} exists already; choose another name, or change it: valetkey secret update {name}"
    return BrokerError(Reason.SECRET_EXISTS, message, {"secret": name})


def secret_in_use(name: str, connectors: Sequence[str]) -> BrokerError:
    """A secret that connectors use cannot be deleted."""
    message = (
        f"the secret {name} is used by {_named(connectors)}; delete what uses it first, or give it another value: "
        f"valetkey secret update {name}"
    )
    return BrokerError(Reason.SECRET_IN_USE, message, {"secret": name, "connectors": _named(connectors)})


def secret_changed(name: str) -> BrokerError:
    """A secret got another value between the look at it and its use."""
    message = f"the secret {name} was changed just now; look at it and try again"
    return _conflict(f"secrets/{name}", message, retry_after=1.0)


def secret_users_changed(name: str, connectors: Sequence[str]) -> BrokerError:
    """Connectors began to use a secret while its new value was tried with the others."""
    message = f"{_named(connectors)} began to use the secret {name} just now; try again"
    return _conflict(f"secrets/{name}", message, retry_after=1.0)


def secret_not_verified(name: str, failed: Sequence[tuple[str, BrokerError]]) -> BrokerError:
    """The new value of a secret does not work for connectors that use it; the first error stands for all."""
    connector, error = failed[0]
    others = f"; nor does it for {_named([each for each, _ in failed[1:]])}" if failed[1:] else ""
    message = (
        f"nothing was changed: with its new value the secret {name} does not work for connector {connector}: "
        f"{error.message}{others}"
    )
    return error.reworded(message)


def connector_bound(name: str, grants: Sequence[str]) -> BrokerError:
    """The connector would lead elsewhere, and so would the grants that are bound to it; that is for admins to do."""
    message = (
        f"connector {name} would lead elsewhere, and with it the grants that are bound to it: "
        f"{_named(grants)}; that needs the role admin. Or register another connector, and have an "
        "admin give it to those who need it: valetkey grant update GRANT --connector NAME"
    )
    method = "/valetkey.v1.ConnectorService/UpdateConnector"
    return BrokerError(Reason.ROLE_REQUIRED, message, {"method": method, "needs": "admin", "connector": name})


def api_key_not_found(name: str) -> BrokerError:
    """There is no API key of that name."""
    return BrokerError(Reason.API_KEY_NOT_FOUND, f"no API key is named {name}", {"api_key": name})


def api_key_exists(name: str) -> BrokerError:
    """The name of a new API key is taken."""
    message = f"an API key named {name} exists already; choose another name, or revoke it first"
    return BrokerError(Reason.API_KEY_EXISTS, message, {"api_key": name})


def admin_key_exists(name: str, until: str) -> BrokerError:
    """The broker has its first admin key already; `until` is the end of that key's life, as people read it."""
    message = (
        f"the admin key {name} exists already, until {until}; make further keys with `valetkey api-key create`. If it "
        f"is lost, remove it from Vault at api-keys/{name} and bootstrap again"
    )
    return BrokerError(Reason.API_KEY_EXISTS, message, {"api_key": name})


def grant_not_found(name: str) -> BrokerError:
    """There is no grant of that name."""
    return BrokerError(Reason.GRANT_NOT_FOUND, f"no grant is named {name}", {"grant": name})


def grant_exists(name: str) -> BrokerError:
    """The name of a new grant is taken."""
    message = f"a grant named {name} exists already; choose another name, or update it"
    return BrokerError(Reason.GRANT_EXISTS, message, {"grant": name})


def changed_by_others(path: str) -> BrokerError:
    """Somebody else changed the object at `path`, its place in Vault, between reading and writing it."""
    message = f"{path} was changed just now, by somebody else or through another worker; look at it again"
    return _conflict(path, message)


def grant_changed(name: str, *, version: int, expected: int) -> BrokerError:
    """The grant is not of the version that the caller has seen."""
    return _conflict(
        f"grants/{name}", f"the grant {name} has version {version} by now, not {expected}; look at it again"
    )


def connector_changed(name: str) -> BrokerError:
    """The connector went away while it was being used, or has another credential; perhaps a new one has that name."""
    message = f"connector {name} was changed, deleted or made anew just now; look at what there is and try again"
    return _conflict(f"connectors/{name}", message, retry_after=1.0)


def too_many_changes(path: str) -> BrokerError:
    """Others were faster at every attempt to change what stands at `path` in Vault."""
    return _conflict(path, "too many changes at once; try again", retry_after=1.0)


def being_changed(path: str) -> BrokerError:
    """Somebody else's change of the object at `path`, its place in Vault, does not come to an end."""
    return _conflict(path, f"{path} is being changed by somebody else; try again", retry_after=1.0)


def name_taken(path: str) -> BrokerError:
    """Something else stands at `path`, a place in Vault, under the name that was chosen for it."""
    return _conflict(path, f"there is another {path} already; choose another name")


def revocation_not_found(name: str) -> BrokerError:
    """There is no revocation of that name."""
    message = f"no revocation is named {name}; valetkey lease list-revocations --all shows those there are"
    return BrokerError(Reason.REVOCATION_NOT_FOUND, message, {"revocation": name})


def revocation_lifted(name: str, by: str, at: str) -> BrokerError:
    """A revocation is no longer in force."""
    return BrokerError(Reason.REVOCATION_NOT_FOUND, f"{name} was lifted at {at} by {by}", {"revocation": name})


def revoked_already(target: str, name: str, by: str, at: str, gone: str = "") -> BrokerError:
    """Somebody else revoked the same; `gone` is the connector for want of which that cannot end the tokens."""
    message = f"{target}: was revoked at {at} by {by} (revocation {name}); see: valetkey lease list-revocations"
    if gone:
        message += (
            f". It cannot end the tokens that are out, for the connector {gone} is gone: lift it, and revoke again by "
            f"way of another connector: valetkey lease lift {name}"
        )
    return BrokerError(Reason.CONFLICT, message, {"object": f"revocations/{name}"})


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _conflict(path: str, message: str, *, retry_after: float | None = None) -> BrokerError:
    return BrokerError(Reason.CONFLICT, message, {"object": path}, retry_after=retry_after)
