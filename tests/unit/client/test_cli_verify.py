"""`valetkey service-connector verify` against a fake broker: the checklist on screen, several at once, exit codes."""

import grpc
import pytest

from support.cli_runner import Runner
from support.fake_broker import Failure, FakeBroker, check, connector
from valetkey.client import Client
from valetkey.errors import FailedPreconditionError
from valetkey.v1 import errors_pb2 as errors_pb

AZ = 'az role assignment create --assignee c-1 --role "Storage Blob Delegator" --scope x'
FAILED = [
    check("log in"),
    check("get a signing key", "failed", account="contosoml", message="No key", mend=f"assign it.\n{AZ}"),
    check("use a token", "not_tried", message="`get a signing key` failed"),
]


def _refused(checks: list[errors_pb.Check]) -> Failure:
    return Failure(
        grpc.StatusCode.FAILED_PRECONDITION,
        "No key: assign it.",
        errors_pb.ERROR_REASON_CLOUD_PERMISSION_MISSING,
        checks=checks,
    )


@pytest.fixture(autouse=True)
def stored(broker: FakeBroker) -> None:
    """Two connectors are stored."""
    for name in ("a", "b"):
        broker.connectors[name] = connector(name)


def test_the_checklist_is_shown(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects that people see what was proved, line by line, and programs the same."""
    broker.checks = [check("log in"), check("use a token", account="contosoml", container="demo")]
    ran = valetkey("service-connector", "verify", "a")
    assert (ran.code, ran.err) == (0, "")
    assert "│ log in      │                │ ok     │" in ran.out.replace("┃ log in", "│ log in")
    assert "contosoml/demo" in ran.out
    lines = valetkey("service-connector", "verify", "a", "-o", "json").json["checks"]
    assert lines[1] == {
        "step": "use a token",
        "outcome": "ok",
        "account": "contosoml",
        "container": "demo",
        "message": "",
        "mend": "",
    }


def test_a_failure_is_shown_with_its_remedy(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the line to paste: it stands alone, beside the checklist, for verify and for register."""
    broker.failures["VerifyConnector"] = _refused(FAILED)
    ran = valetkey("service-connector", "verify", "a")
    assert (ran.code, ran.out) == (1, "")
    assert "│ failed    │ No key" in ran.err
    assert "│ not tried │ `get a signing key` failed" in ran.err
    assert f"Note: to mend `get a signing key`: assign it.\n{AZ}\n" in ran.err
    assert ran.err.rstrip().splitlines()[-2] == "Error: No key"
    assert ran.err.count("assign it.") == 1
    broker.failures["CreateConnector"] = _refused(FAILED)
    ran = valetkey("service-connector", "register", "c", "--implicit-source", "managed-identity")
    assert ("Error: No key\n" in ran.err, ran.err.endswith("Note: nothing was stored\n")) == (True, True)
    as_json = valetkey("service-connector", "verify", "a", "-o", "json")
    assert '"mend": "assign it.\\naz role' in as_json.err


def test_a_failed_check_fails_the_command(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects a cron: what is broken in part is no success, a warning is."""
    broker.checks = [check("get a signing key", "failed", account="x", message="no")]
    ran = valetkey("service-connector", "verify", "a")
    assert (ran.code, "does not work as it should" in ran.out) == (1, True)
    broker.checks = [check("compare clocks", "warning", message="90 s apart")]
    assert valetkey("service-connector", "verify", "a").code == 0


def test_all_at_once(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects `verify --all`: one row each, and the worst decides the exit code."""
    ran = valetkey("service-connector", "verify", "--all")
    assert (ran.code, ran.err) == (0, "")
    assert "│ ok     │ 2" in ran.out
    broker.failures["VerifyConnector"] = _refused(FAILED)
    ran = valetkey("service-connector", "verify", "b", "a", "b")
    assert ran.code == 1
    assert "failed" in ran.out
    assert ran.out.index(" b ") < ran.out.index(" a ")
    assert f"Note: to mend a: assign it.\n{AZ}\n" in ran.err
    found = valetkey("service-connector", "verify", "--all", "-o", "json").json
    assert [(each["connector"], each["result"], each["error"]["reason"]) for each in found] == [
        ("a", "failed", "CLOUD_PERMISSION_MISSING"),
        ("b", "failed", "CLOUD_PERMISSION_MISSING"),
    ]


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors_pb.ERROR_REASON_CLOUD_UNAVAILABLE, 5),
        (grpc.StatusCode.NOT_FOUND, errors_pb.ERROR_REASON_RESOURCE_NOT_FOUND, 4),
    ],
)
def test_the_worst_exit_code(
    valetkey: Runner, broker: FakeBroker, code: grpc.StatusCode, reason: int, exit_code: int
) -> None:
    """Protects a cron that tries again where that helps."""
    broker.failures["VerifyConnector"] = Failure(code, "no", reason)
    assert valetkey("service-connector", "verify", "--all").code == exit_code


def test_what_may_not_be_asked_ends_it(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects from a table of rows that all say that the caller is not known."""
    broker.failures["VerifyConnector"] = Failure(
        grpc.StatusCode.PERMISSION_DENIED, "needs operator", errors_pb.ERROR_REASON_ROLE_REQUIRED
    )
    ran = valetkey("service-connector", "verify", "--all")
    assert (ran.code, ran.out) == (3, "")


@pytest.mark.parametrize(
    "words", [(), ("a", "--all"), ("--all", "--resource-id", "az://demo"), ("a", "b", "--resource-id", "az://demo")]
)
def test_what_makes_no_sense_is_not_sent(valetkey: Runner, broker: FakeBroker, words: tuple[str, ...]) -> None:
    """Protects from verifying something else than was meant."""
    ran = valetkey("service-connector", "verify", *words)
    assert (ran.code, broker.requests) == (2, [])


def test_one_container(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects that the narrowed question is the one that is asked."""
    assert valetkey("service-connector", "verify", "a", "--resource-id", "az://demo").code == 0
    assert broker.requests[0].resource_id == "az://demo"


def test_the_probe_is_asked_for(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects that nothing is written into a customer's container unless somebody said so."""
    assert valetkey("service-connector", "verify", "a").code == 0
    assert valetkey("service-connector", "verify", "a", "--probe-write").code == 0
    assert [request.probe_write for request in broker.requests] == [False, True]


def test_many_lines_leave_only_what_has_something_to_say(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects what failed from being buried under hundreds of accounts that work."""
    broker.checks = [check("list containers", account=f"account{n}") for n in range(60)]
    broker.checks.append(check("list containers", "failed", account="sick", message="no"))
    ran = valetkey("service-connector", "verify", "a")
    assert ("sick" in ran.out, "account7" in ran.out) == (True, False)
    assert "60 more checks hold" in ran.err


def test_programs_get_the_checklist_of_an_error(client: Client, broker: FakeBroker) -> None:
    """Protects that the error of a failed verification is typed as any other, and has the lines."""
    broker.failures["VerifyConnector"] = _refused(FAILED)
    with pytest.raises(FailedPreconditionError) as caught:
        client.verify_connector("a")
    assert caught.value.reason == "CLOUD_PERMISSION_MISSING"
    assert [line.outcome for line in caught.value.checks] == ["ok", "failed", "not-tried"]
