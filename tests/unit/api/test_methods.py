"""The table of methods, held against the API: every RPC is in it, and nothing that is none."""

import pytest

from support.core import principal
from valetkey.v1 import (
    api_key_service_pb2,
    connector_service_pb2,
    grant_service_pb2,
    ledger_service_pb2,
    resource_service_pb2,
    token_service_pb2,
)
from valetkey_broker.api.methods import METHODS, Access, needed, require_role
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Role

FILES = (
    api_key_service_pb2,
    connector_service_pb2,
    grant_service_pb2,
    ledger_service_pb2,
    resource_service_pb2,
    token_service_pb2,
)


def test_every_method_of_the_api_is_listed_and_no_other() -> None:
    """A method that nobody thought of, or that is gone, does not stay unnoticed."""
    api = {
        f"/{service.full_name}/{method.name}"
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {method for method in METHODS if method.startswith("/valetkey.v1.")} == api


def test_nothing_of_ours_is_public() -> None:
    """Only health answers callers without credentials."""
    public = {method for method, needs in METHODS.items() if needs is Access.PUBLIC}
    assert {method.split("/")[1] for method in public} == {"grpc.health.v1.Health"}


def test_only_admins_change_grants_and_keys() -> None:
    """An operator who could grant would be an admin."""
    for method, needs in METHODS.items():
        if method.endswith(("CreateGrant", "UpdateGrant", "DeleteGrant", "CreateApiKey", "RevokeApiKey")):
            assert needs == frozenset({Role.ADMIN})


def test_unlisted_methods_are_refused() -> None:
    """Default deny, for everybody."""
    with pytest.raises(BrokerError) as caught:
        needed("/valetkey.v1.TokenService/Nope")
    assert caught.value.reason is Reason.ROLE_REQUIRED
    assert caught.value.metadata["needs"] == "nobody"


def test_roles_are_required() -> None:
    """One of the roles is enough; without one the caller is told which there are."""
    method = "/valetkey.v1.GrantService/ListGrants"
    needs = needed(method)
    assert isinstance(needs, frozenset)
    require_role(principal(Role.AUDITOR), method, needs)
    with pytest.raises(BrokerError) as caught:
        require_role(principal(Role.VIEWER), method, needs)
    assert caught.value.metadata == {"method": method, "needs": "admin or auditor or operator"}
