"""Which methods change what, so that the ledger can say so."""

from collections.abc import Callable, Mapping
from typing import Any


def _own_name(request: Any) -> str:
    return str(request.name)


def _grant_name(request: Any) -> str:
    return str(request.grant.name)


CHANGES: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "/valetkey.v1.ConnectorService/CreateConnector": ("connectors", _own_name),
    "/valetkey.v1.ConnectorService/DeleteConnector": ("connectors", _own_name),
    "/valetkey.v1.ApiKeyService/CreateApiKey": ("api-keys", _own_name),
    "/valetkey.v1.ApiKeyService/RevokeApiKey": ("api-keys", _own_name),
    "/valetkey.v1.GrantService/CreateGrant": ("grants", _grant_name),
    "/valetkey.v1.GrantService/UpdateGrant": ("grants", _grant_name),
    "/valetkey.v1.GrantService/DeleteGrant": ("grants", _own_name),
}
"""Method → the folder in Vault that it changes, and how its request names the object."""


def changed_object(method: str, request: Any) -> str:
    """Returns what a call of `method` changes, for example `grants/training`; empty where it changes nothing."""
    change = CHANGES.get(method)
    return f"{change[0]}/{change[1](request)}" if change else ""
