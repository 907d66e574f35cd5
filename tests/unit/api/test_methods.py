"""The table of methods, held against the descriptors: every RPC has exactly one row, and every row is of an RPC."""

from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from support.core import principal
from valetkey.v1 import (
    api_key_service_pb2,
    common_pb2,
    connector_service_pb2,
    credential_service_pb2,
    expiry_service_pb2,
    grant_service_pb2,
    identity_service_pb2,
    ledger_service_pb2,
    login_service_pb2,
    resource_service_pb2,
    revocation_service_pb2,
    secret_service_pb2,
    token_service_pb2,
)
from valetkey_broker.api.methods import METHODS
from valetkey_broker.api.services import SERVICE_NAMES
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.limits import Bucket
from valetkey_broker.model import Role
from valetkey_broker.rpc.method import FOR_NOBODY, Access, Asked

FILES = (
    api_key_service_pb2,
    connector_service_pb2,
    credential_service_pb2,
    expiry_service_pb2,
    grant_service_pb2,
    identity_service_pb2,
    ledger_service_pb2,
    login_service_pb2,
    resource_service_pb2,
    revocation_service_pb2,
    secret_service_pb2,
    token_service_pb2,
    health_pb2,
    reflection_pb2,
)
RPCS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
READING = (
    "Get",
    "List",
    "Preview",
    "Explain",
    "Diagnose",
    "Verify",
    "Check",
    "Watch",
    "WhoAmI",
    "ServerReflectionInfo",
)
# The issuer writes a record of its own for each token.
ISSUING = {
    "/valetkey.v1.TokenService/IssueToken",
    "/valetkey.v1.TokenService/IssueTokens",
    "/valetkey.v1.TokenService/WatchToken",
}
CHANGES = sorted(name for name, row in METHODS.items() if row.change is not None)
FOLDERS = {
    "ConnectorService": "connectors",
    "ApiKeyService": "api-keys",
    "GrantService": "grants",
    "SecretService": "secrets",
    "RevocationService": "revocations",
    "CredentialService": "rotations",
}


def request_of(name: str) -> Any:
    """Returns an empty request of a method."""
    return message_factory.GetMessageClass(RPCS[name].input_type)()


def test_every_rpc_has_a_row_and_every_row_an_rpc() -> None:
    """A method that nobody thought of, or that is gone, does not stay unnoticed."""
    assert set(METHODS) == set(RPCS)
    assert {name.split("/")[1] for name in METHODS if name.startswith("/valetkey.")} == set(SERVICE_NAMES)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_is_accounted_for(name: str) -> None:
    """A method either only reads, or issues, or says what it changes: a new one cannot be forgotten."""
    reads = name.rpartition("/")[2].startswith(READING) and name not in ISSUING
    assert (name in CHANGES) + (name in ISSUING) + reads == 1
    assert (METHODS[name].bucket is Bucket.ISSUING) == (name in ISSUING)


def test_all_but_tokens_hear_the_news_first() -> None:
    """Only tokens go without, which must not wait, what tells of an outage, and what shows the shape of the API."""
    without = {name for name, row in METHODS.items() if not row.catches_up and row.needs is not Access.PUBLIC}
    assert {name.rpartition("/")[2] for name in without - ISSUING} == {"GetIssuingLeft", "ServerReflectionInfo"}
    assert without > ISSUING


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_names_its_object(name: str) -> None:
    """The object is found in the request, wherever that request keeps its name; of what cannot be one, the length."""
    request = request_of(name)
    holder = request.grant if "grant" in request.DESCRIPTOR.fields_by_name else request
    change = METHODS[name].change
    assert change is not None
    holder.name = "S3cret/of no known shape"
    assert change(request).partition("/")[2] == "24 characters"
    holder.name = "the-name"
    if name.endswith("/SetRotationSchedule"):  # It changes the connector, or the secret, and no rotation.
        assert change(request) == "connectors/the-name"
        request.holder = credential_service_pb2.CREDENTIAL_HOLDER_SECRET
        assert change(request) == "secrets/the-name"
        return
    assert change(request) == f"{FOLDERS[name.split('/')[1].rpartition('.')[2]]}/the-name"


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_row_reads_the_requests_of_its_method(name: str) -> None:
    """What a refused request asked for is on record, wherever the request keeps it; one without such fields is fine."""
    request = request_of(name)
    wanted = request.request if name.endswith("/WatchToken") else request
    if name.endswith(("/PreviewRevocation", "/CreateRevocation")):
        wanted = request.target
    fields = {
        field: value
        for field, value in (("connector", "c"), ("resource_id", "az://r"), ("purpose", "p"))
        if field in wanted.DESCRIPTOR.fields_by_name
    }
    for field, value in fields.items():
        setattr(wanted, field, value)
    permissions = ""
    if "permissions" in wanted.DESCRIPTOR.fields_by_name:
        wanted.permissions.extend((common_pb2.PERMISSION_WRITE, common_pb2.PERMISSION_READ, 77))
        permissions = "rw"
    assert METHODS[name].asked(request) == Asked(
        fields.get("connector", ""), fields.get("resource_id", ""), permissions, fields.get("purpose", "")
    )


def test_next_to_nothing_is_public() -> None:
    """Only health, and where people log in, is told to callers without credentials."""
    public = {name for name, row in METHODS.items() if row.needs is Access.PUBLIC}
    ours = "/valetkey.v1.LoginService/GetLoginSettings"
    assert ours in public
    assert {name.split("/")[1] for name in public - {ours}} == {"grpc.health.v1.Health"}


def test_only_calls_with_nothing_to_tell_are_quiet() -> None:
    """The ledger has each token; probes say the same every few seconds; strangers must not fill the log."""
    quiet = {name.rpartition(".")[2] for name, row in METHODS.items() if row.quiet}
    assert quiet == {
        "TokenService/IssueToken",
        "TokenService/IssueTokens",
        "LoginService/GetLoginSettings",
        "Health/Check",
        "Health/Watch",
    }


def test_only_admins_change_grants_and_keys() -> None:
    """An operator who could grant would be an admin."""
    for name, row in METHODS.items():
        if name.endswith(("CreateGrant", "UpdateGrant", "DeleteGrant", "CreateApiKey", "RotateApiKey", "RevokeApiKey")):
            assert row.needs == frozenset({Role.ADMIN})


def test_methods_without_a_row_are_refused() -> None:
    """Default deny, for everybody."""
    with pytest.raises(BrokerError) as caught:
        FOR_NOBODY.require_role(principal(*Role), "/valetkey.v1.TokenService/Nope")
    assert caught.value.reason is Reason.ROLE_REQUIRED
    assert caught.value.metadata["needs"] == "nobody"


def test_roles_are_required() -> None:
    """One of the roles is enough; without one the caller is told which there are."""
    name = "/valetkey.v1.GrantService/ListGrants"
    METHODS[name].require_role(principal(Role.AUDITOR), name)
    with pytest.raises(BrokerError) as caught:
        METHODS[name].require_role(principal(Role.VIEWER), name)
    assert caught.value.metadata == {"method": name, "needs": "admin or auditor or operator"}
