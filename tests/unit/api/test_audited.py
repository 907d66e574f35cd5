"""The table of changes: no method that changes something is left out, and each can name its object."""

import importlib
from typing import Any

import pytest
from google.protobuf import message_factory

from valetkey_broker.api.audited import CHANGES, changed_object
from valetkey_broker.api.methods import METHODS

READING = ("Get", "List", "Explain", "Verify", "Check", "Watch", "ServerReflectionInfo")
# The issuer writes a record of its own for each token.
ISSUING = {"/valetkey.v1.TokenService/IssueToken", "/valetkey.v1.TokenService/WatchToken"}
MODULES = ("connector_service_pb2", "api_key_service_pb2", "grant_service_pb2", "token_service_pb2")


def request_of(method: str) -> Any:
    """Returns an empty request of a method."""
    service, name = method[1:].split("/")
    for module in MODULES:
        descriptor = importlib.import_module(f"valetkey.v1.{module}").DESCRIPTOR
        known = descriptor.services_by_name.get(service.rpartition(".")[2])
        if known is not None:
            return message_factory.GetMessageClass(known.methods_by_name[name].input_type)()
    raise AssertionError(f"no module has {method}")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_is_accounted_for(method: str) -> None:
    """A method either only reads, or issues, or stands in the table: a new one cannot be forgotten."""
    reads = method.rpartition("/")[2].startswith(READING)
    assert (method in CHANGES) + (method in ISSUING) + (reads and method not in ISSUING) == 1


@pytest.mark.parametrize("method", sorted(CHANGES))
def test_every_change_names_its_object(method: str) -> None:
    """The object is found in the request, wherever that request keeps its name."""
    request = request_of(method)
    holder = request.grant if "grant" in request.DESCRIPTOR.fields_by_name else request
    holder.name = "the-name"
    assert changed_object(method, request) == f"{CHANGES[method][0]}/the-name"
