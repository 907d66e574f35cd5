"""What the record of a change says of it: enough to see what was meant, of whatever was sent, and no secret."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from valetkey.v1 import api_key_service_pb2 as keys_pb
from valetkey.v1 import common_pb2
from valetkey.v1 import connector_service_pb2 as connectors_pb
from valetkey.v1 import grant_service_pb2 as grants_pb
from valetkey.v1 import secret_service_pb2 as secrets_pb
from valetkey_broker.api.change_summaries import (
    api_key_rotation_summary,
    api_key_summary,
    connector_summary,
    connector_update_summary,
    grant_summary,
    renamed_secret_summary,
    secret_summary,
)
from valetkey_broker.api.methods import METHODS
from valetkey_broker.model import check_details, details_of

TENANT, CLIENT = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def test_a_new_key() -> None:
    """Roles and end of a key are on record: who was made an administrator, and until when."""
    request = keys_pb.CreateApiKeyRequest(
        name="x", roles=[common_pb2.ROLE_ADMIN, common_pb2.ROLE_AUDITOR], expire_time=Timestamp(seconds=1_790_000_000)
    )
    assert details_of(**api_key_summary(request)) == {"roles": "admin, auditor", "expires": "2026-09-21T14:13:20Z"}
    assert details_of(**api_key_summary(keys_pb.CreateApiKeyRequest(name="x"))) == {}
    rotation = keys_pb.RotateApiKeyRequest(overlap=Duration(), expire_time=request.expire_time, key_sha256=b"PLANTED")
    assert details_of(**api_key_rotation_summary(rotation)) == {"overlap": "0s", "expires": "2026-09-21T14:13:20Z"}
    assert details_of(**api_key_rotation_summary(keys_pb.RotateApiKeyRequest(name="x"))) == {}


@pytest.mark.parametrize("message", [grants_pb.CreateGrantRequest, grants_pb.UpdateGrantRequest])
def test_a_grant(message: Any) -> None:
    """Who may have what, and within which limits."""
    grant = grants_pb.Grant(
        name="x",
        principals=["key:a", "key:b"],
        attributes={"namespace": "ml"},
        connectors=[grants_pb.GrantedConnector(name="c", uid="u")],
        containers=["models", "data-*"],
        permissions=[common_pb2.PERMISSION_READ, common_pb2.PERMISSION_LIST],
        source_ip="192.0.2.0-192.0.2.9",
        note="not on record",
    )
    grant.max_ttl.seconds = 3600
    assert details_of(**grant_summary(message(grant=grant))) == {
        "principals": "key:a, key:b",
        "attributes": "namespace=ml",
        "connectors": "c",
        "containers": "models, data-*",
        "permissions": "read, list",
        "max_ttl": "3600s",
        "source_ip": "192.0.2.0-192.0.2.9",
    }


def test_a_connector() -> None:
    """How it logs in and to what; of its secret nothing."""
    request = connectors_pb.CreateConnectorRequest(
        name="x",
        auth_method=connectors_pb.AUTH_METHOD_SERVICE_PRINCIPAL,
        resource_id="az://models",
        azure=connectors_pb.AzureConfig(tenant_id=TENANT, client_id=CLIENT, storage_account="contosoml"),
        azure_secret=connectors_pb.AzureSecret(client_secret="PLANTED"),
        labels={"team": "ml"},
        expire_time=Timestamp(seconds=1_790_000_000),
        no_verify=True,
    )
    assert details_of(**connector_summary(request)) == {
        "auth_method": "service-principal",
        "tenant_id": TENANT,
        "client_id": CLIENT,
        "storage_account": "contosoml",
        "resource": "az://models",
        "labels": "team=ml",
        "credential_expires": "2026-09-21T14:13:20Z",
        "verified": "no",
    }


def test_a_change_of_a_connector() -> None:
    """What it is to be from now on, and what goes; of a new secret that there is one, and no more."""
    request = connectors_pb.UpdateConnectorRequest(
        name="x",
        auth_method=connectors_pb.AUTH_METHOD_ACCOUNT_KEY,
        resource_id="az://models",
        azure=connectors_pb.AzureConfig(storage_account="contosoml"),
        azure_secret=connectors_pb.AzureSecret(account_key="PLANTED"),
        labels={"team": "ml"},
        remove=["description", "labels.old"],
        no_verify=True,
    )
    assert details_of(**connector_update_summary(request)) == {
        "auth_method": "account-key",
        "storage_account": "contosoml",
        "resource": "az://models",
        "credential": "new",
        "labels": "team=ml",
        "removed": "description, labels.old",
        "verified": "no",
    }
    everything = connectors_pb.AzureConfig()
    for field in everything.DESCRIPTOR.fields:
        setattr(everything, field.name, "x")
    request.azure.CopyFrom(everything)
    request.expire_time.seconds = 1
    check_details(details_of(**connector_update_summary(request)))


_number = st.integers(-(2**31), 2**31 - 1)
_seconds = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.no_cover
@given(st.lists(_number, max_size=80), _seconds, st.text(max_size=50), st.lists(st.text(max_size=30), max_size=80))
def test_nonsense_makes_a_summary_too(numbers: list[int], seconds: int, text: str, texts: list[str]) -> None:
    """A change is recorded before anybody looks at what it holds: nothing of it may stand in the way."""
    moment = Timestamp(seconds=seconds)
    grant = grants_pb.Grant(principals=texts, containers=texts, source_ip=text, expire_time=moment, consumer_role=1)
    for number in numbers:
        grant.permissions.append(number)
    grant.max_ttl.seconds = seconds
    key = keys_pb.CreateApiKeyRequest(roles=numbers, expire_time=moment)
    connector = connectors_pb.CreateConnectorRequest(auth_method=numbers[0] if numbers else 0, resource_id=text)
    for made in (
        grant_summary(grants_pb.CreateGrantRequest(grant=grant)),
        api_key_summary(key),
        connector_summary(connector),
        connector_update_summary(
            connectors_pb.UpdateConnectorRequest(auth_method=connector.auth_method, remove=texts, expire_time=moment)
        ),
    ):
        assert all(len(value) <= 500 for value in details_of(**made).values())


def test_only_changes_have_summaries() -> None:
    """A summary that no record takes would be work for nothing."""
    for name, row in METHODS.items():
        if row.change is None:
            assert row.summary(None) == {}, name


def test_a_named_secret() -> None:
    """How connectors log in with it, and which of its fields were given: never what they hold."""
    request = secrets_pb.UpdateSecretRequest(
        name="az_secret",
        auth_method=connectors_pb.AUTH_METHOD_SERVICE_PRINCIPAL,
        azure=connectors_pb.AzureConfig(tenant_id=TENANT, storage_account="demoaccount"),
        azure_secret=connectors_pb.AzureSecret(client_secret="PLANTED"),
        remove_fields=["client_id"],
        no_verify=True,
        expire_time=Timestamp(seconds=1_790_000_000),
    )
    assert details_of(**secret_summary(request)) == {
        "auth_method": "service-principal",
        "storage_account": "demoaccount",
        "tenant_id": TENANT,
        "fields": "client_secret",
        "removed": "client_id",
        "verified": "no",
        "credential_expires": "2026-09-21T14:13:20Z",
    }
    assert details_of(**secret_summary(secrets_pb.CreateSecretRequest(name="x"))) == {}
    renaming = secrets_pb.RenameSecretRequest(name="az_secret", new_name="az_new")
    assert details_of(**renamed_secret_summary(renaming)) == {"new_name": "az_new"}


def test_what_cannot_be_an_id_is_not_repeated() -> None:
    """Somebody pastes a secret into the wrong field: the record is for good, and has the length of it alone."""
    request = connectors_pb.CreateConnectorRequest(
        azure=connectors_pb.AzureConfig(tenant_id=TENANT, client_id="PLANTEDs3cr3t", storage_account="PLANTED")
    )
    told = details_of(**connector_summary(request))
    assert (told["client_id"], told["storage_account"]) == ("13 characters", "7 characters")


def test_a_secret_behind_a_prefix_is_not_recorded() -> None:
    """What stands in front of it in a record does not hide a key from what looks for keys."""
    key, secret = "A" * 86 + "==", "abc8Q~" + "x" * 34
    create = METHODS["/valetkey.v1.ConnectorService/CreateConnector"].change
    assert create is not None
    renaming = secrets_pb.RenameSecretRequest(name="az_secret", new_name="S3cret")
    assert renamed_secret_summary(renaming) == {"new_name": "6 characters"}
    assert secret_summary(secrets_pb.UpdateSecretRequest(remove_fields=["PLANTED"]))["removed"] == "7 characters"
    assert key not in create(connectors_pb.CreateConnectorRequest(name=key))
    remove = [f"labels.{secret}", "description", "s3cret"]
    removed = connector_update_summary(connectors_pb.UpdateConnectorRequest(remove=remove))
    assert removed["removed"] == "labels.40 characters, description, 6 characters"
