"""`service-connector describe --client`: what a consumer would receive, and no token but on demand."""

from datetime import timedelta

import pytest

from support.cli_runner import Runner
from support.fake_broker import SAS, FakeBroker, connector, entry, resource
from valetkey.v1 import grant_service_pb2 as grant_pb
from valetkey.v1 import token_service_pb2 as token_pb

VIEW = ("service-connector", "describe", "a", "--client")


class Grants:
    """Answers ExplainAccess by two grants: `readers` reads and lists, `cleaners` deletes, both by connector a."""

    def __init__(self) -> None:
        self.allowed = {"readers": {1, 6}, "cleaners": {5}}
        self.asked: list[grant_pb.ExplainAccessRequest] = []

    def explain(self, request: grant_pb.ExplainAccessRequest) -> grant_pb.ExplainAccessResponse:
        self.asked.append(request)
        for grant, allowed in self.allowed.items():
            if allowed.issuperset(request.permissions) and request.resource_id != "az://other":
                answer = grant_pb.ExplainAccessResponse(allowed=True, grant=grant, ttl_limited_by=1)
                answer.ttl.FromTimedelta(timedelta(minutes=10))
                return answer
        return grant_pb.ExplainAccessResponse()


@pytest.fixture
def grants(broker: FakeBroker) -> Grants:
    known = Grants()
    broker.connectors = {"a": connector("a")}
    broker.entries = [entry("a", resource("models"), resource("other"))]
    broker.explain = known.explain
    return known


def test_what_each_grant_gives_is_shown(valetkey: Runner, broker: FakeBroker, grants: Grants) -> None:
    """Protects the answer to "what would they get?": grants do not add up, and nothing is issued."""
    ran = valetkey(*VIEW, "--principal", "key:trainer", "-o", "json")
    assert ran.code == 0, ran.err
    assert ran.json == {
        "connector": "a",
        "principal": "key:trainer",
        "client": [
            {
                "resource_id": "az://models",
                "permissions": permissions,
                "ttl_seconds": 600,
                "ttl_limited_by": "grant-max-ttl",
                "grant": grant,
            }
            for grant, permissions in (("readers", ["read", "list"]), ("cleaners", ["delete"]))
        ],
    }
    assert {request.principal for request in grants.asked} == {"key:trainer"}
    assert not any(isinstance(request, token_pb.IssueTokenRequest) for request in broker.requests)
    table = valetkey(*VIEW).out
    assert "read, list" in table
    assert "10m (the grant allows no longer life)" in table
    assert SAS not in table


def test_a_token_is_shown_on_demand_only(valetkey: Runner, broker: FakeBroker, grants: Grants) -> None:
    """Protects screens from tokens: one that is asked for in so many words, for one resource, to oneself."""
    ran = valetkey(*VIEW, "--show-token")
    assert (ran.code, "2 tokens could be meant" in ran.err) == (2, True)
    del grants.allowed["cleaners"]
    ran = valetkey(*VIEW, "--resource-id", "az://models", "--show-token")
    assert ran.code == 0, ran.err
    assert SAS in ran.out
    (request,) = [each for each in broker.requests if isinstance(each, token_pb.IssueTokenRequest)]
    assert (request.connector, list(request.permissions)) == ("a", [1, 6])
    assert valetkey(*VIEW, "--show-token", "--resource-id", "models", "-o", "json").json["token"]["sas_token"] == SAS


def test_where_nothing_would_be_received_a_note_says_so(valetkey: Runner, broker: FakeBroker, grants: Grants) -> None:
    """Protects against an empty table; and options that mean nothing without --client are refused."""
    ran = valetkey(*VIEW, "--resource-id", "az://other", "--principal", "key:x")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "Note: no grant lets key:x use it; see why with: valetkey grant explain\n"
    for words in (("--show-token",), ("--client", "--principal", "key:x", "--show-token")):
        ran = valetkey("service-connector", "describe", "a", *words)
        assert (ran.code, "--show-token" in ran.err) == (2, True)
    assert len(grants.asked) > 0
