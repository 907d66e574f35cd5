"""The method table: complete against the API, nothing invented, and closed to what is not in it."""

from pathlib import Path

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

import valetkey.v1
from broker.authz.methods import METHODS, Access, needed, require_role
from broker.errors import BrokerError, Reason
from broker.model import Role
from broker.rpc.server import SERVICES
from support.core import principal
from support.inproc import ADMIN_KEY, bearer, running_broker
from valetkey.v1 import (
    api_key_service_pb2,
    connector_service_pb2,
    resource_service_pb2,
    token_service_pb2,
)

_API = (api_key_service_pb2, connector_service_pb2, resource_service_pb2, token_service_pb2)


def _methods(service: ServiceDescriptor) -> set[str]:
    return {f"/{service.full_name}/{method.name}" for method in service.methods}


def _declared() -> set[str]:
    files = [module.DESCRIPTOR for module in (*_API, health_pb2, reflection_pb2)]
    return {method for file in files for service in file.services_by_name.values() for method in _methods(service)}


def test_the_table_is_the_api() -> None:
    """Every RPC that is declared stands in the table, and the table names none that is not."""
    assert set(METHODS) == _declared()


def test_every_file_of_the_api_was_looked_at() -> None:
    """A new file of services cannot be forgotten here."""
    directory = Path(next(iter(valetkey.v1.__path__)))
    pool = descriptor_pool.Default()
    names = {f"valetkey/v1/{path.name.removesuffix('_pb2.py')}.proto" for path in directory.glob("*_pb2.py")}
    with_services = {name for name in names if pool.FindFileByName(name).services_by_name}
    assert with_services == {module.DESCRIPTOR.name for module in _API}


async def test_every_service_of_the_running_server_is_in_the_table(tmp_path: Path) -> None:
    """What the server itself says it serves is in the table, method by method, and nothing in the table is missing."""
    async with running_broker(tmp_path) as broker:
        info = broker.channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        call = info(metadata=bearer(ADMIN_KEY), wait_for_ready=True)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await call.read()
        await call.done_writing()
        assert isinstance(answer, reflection_pb2.ServerReflectionResponse)
    served = {service.name for service in answer.list_services_response.service}
    assert served == {method.split("/")[1] for method in METHODS}
    assert set(SERVICES) <= served


@pytest.mark.parametrize(
    "method",
    [
        *("", "/", "/valetkey.v1.TokenService/", "/valetkey.v1.TokenService/Nope", "/valetkey.v2.A/B"),
        *("/VALETKEY.v1.TokenService/IssueToken", "valetkey.v1.TokenService/IssueToken"),
        "/valetkey.v1.TokenService/IssueToken/",
    ],
)
def test_an_unknown_method_is_refused(method: str) -> None:
    """Default deny: what nobody thought of is for nobody, an admin included."""
    with pytest.raises(BrokerError) as caught:
        needed(method)
    assert caught.value.reason is Reason.ROLE_REQUIRED
    assert caught.value.metadata == {"method": method, "needs": "nobody"}


@pytest.mark.parametrize("method", [method for method, needs in METHODS.items() if isinstance(needs, frozenset)])
@pytest.mark.parametrize("role", Role)
def test_roles_open_what_the_table_says(method: str, role: Role) -> None:
    """Each role gets into exactly its methods; a refusal names the method and the roles that would do."""
    needs = needed(method)
    assert isinstance(needs, frozenset)
    assert needs, "a method that no role opens is a mistake"
    assert Role.ADMIN in needs
    if role in needs:
        require_role(principal(role), method, needs)
        return
    with pytest.raises(BrokerError) as caught:
        require_role(principal(role), method, needs)
    assert caught.value.reason is Reason.ROLE_REQUIRED
    assert method.rpartition("/")[2] in caught.value.message
    assert set(caught.value.metadata["needs"].split(" or ")) == {each.value for each in needs}


def test_a_caller_without_roles_gets_nowhere() -> None:
    """No roles is not all roles."""
    with pytest.raises(BrokerError):
        require_role(principal(), "/valetkey.v1.TokenService/IssueToken", frozenset({Role.CONSUMER}))


def test_only_health_is_public() -> None:
    """Whatever changes in the table, nothing of the broker's own is open to strangers."""
    public = {method for method, needs in METHODS.items() if needs is Access.PUBLIC}
    assert public == {f"/grpc.health.v1.Health/{name}" for name in ("Check", "List", "Watch")}


def test_the_table_says_what_the_proto_comments_promise() -> None:
    """Consumers issue and list; operators keep connectors; only admins keep keys."""
    issue, list_resources = "/valetkey.v1.TokenService/IssueToken", "/valetkey.v1.ResourceService/ListResources"
    consumer = {m for m, needs in METHODS.items() if isinstance(needs, frozenset) and Role.CONSUMER in needs}
    viewer = {m for m, needs in METHODS.items() if isinstance(needs, frozenset) and Role.VIEWER in needs}
    assert consumer == {issue, list_resources}
    assert viewer - {list_resources} == {
        f"/valetkey.v1.ConnectorService/{n}" for n in ("GetConnector", "ListConnectors")
    }
    for method, needs in METHODS.items():
        if "ApiKeyService" in method:
            assert needs == frozenset({Role.ADMIN})
