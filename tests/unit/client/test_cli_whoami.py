"""`valetkey whoami` against a fake broker."""

import gc
from datetime import UTC, datetime

import valetkey as package
from support.cli_runner import Runner
from support.fake_broker import FakeBroker
from valetkey.cli import global_options
from valetkey.v1 import common_pb2 as common_pb
from valetkey.v1 import identity_service_pb2 as pb


def test_who_the_broker_takes_the_caller_for(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects whoever wonders which identity counts: name, roles, how it was proved, until when, and attributes."""
    broker.caller = pb.WhoAmIResponse(
        principal="oidc:https://issuer#system:serviceaccount:ml:trainer",
        roles=[common_pb.ROLE_VIEWER],
        authentication=pb.AUTHENTICATION_OIDC,
        attributes={"namespace": "ml"},
    )
    broker.caller.expire_time.FromDatetime(datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC))
    shown = valetkey("whoami").out
    for word in ("oidc:https://issuer#system:serviceaccount:ml:trainer", "viewer", "a token of an OIDC", "2027-01-02"):
        assert word in shown
    assert valetkey("whoami", "-o", "json").json == {
        "principal": "oidc:https://issuer#system:serviceaccount:ml:trainer",
        "roles": ["viewer"],
        "authentication": "oidc",
        "expire_time": "2027-01-02T03:04:05Z",
        "attributes": {"namespace": "ml"},
    }


def test_a_caller_without_roles_and_end(client: package.Client, valetkey: Runner) -> None:
    """Protects stack components: no role is nothing wrong, and no end is no end in 1970."""
    assert client.who_am_i() == package.CallerIdentity("key:trainer", (), "")
    shown = valetkey("whoami").out
    assert "grants say" in shown
    assert "no end of its own" in shown


def test_a_command_leaves_its_connection_to_the_end_of_the_process(valetkey: Runner) -> None:
    """Protects a command that has its answer from waiting for gRPC, where closing a channel can hang."""
    valetkey("whoami")
    gc.collect()
    assert global_options.KEPT[-1].who_am_i().principal == "key:trainer"
