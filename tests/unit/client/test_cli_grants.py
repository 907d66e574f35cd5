"""`valetkey grant` against a fake broker."""

from datetime import UTC, datetime, timedelta

import pytest

from support.cli_runner import Runner
from support.fake_access import NOW, grant
from support.fake_broker import FakeBroker
from valetkey.v1 import common_pb2
from valetkey.v1 import grant_service_pb2 as grant_pb

WHO = ("--principal", "key:trainer", "--principal", "spiffe://example.org/ml/*")
WHAT = ("--connector", "azure-blob-demo", "--container", "models", "--container", "ml-*")
CREATE = ("grant", "create", "training", *WHO, *WHAT)
EXPLAIN = ("grant", "explain", "--resource", "az://models", "--permissions", "read,delete")


def test_create_with_permissions_and_all_limits(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects every option on its way to the broker, underscored spellings included."""
    ran = valetkey(
        *CREATE,
        *("--permissions", "read,list", "--prefix", "runs/a", "--attribute", "namespace=ml-*"),
        *("--attribute", "claim=a=b", "--max_ttl", "1h", "--source_ip", "203.0.113.7", "--expires", "90d"),
        *("--note", "nightly"),
    )
    assert (ran.code, ran.err) == (0, "")
    sent = broker.requests[0].grant
    assert list(sent.principals) == ["key:trainer", "spiffe://example.org/ml/*"]
    assert ([connector.name for connector in sent.connectors], list(sent.containers)) == (
        ["azure-blob-demo"],
        ["models", "ml-*"],
    )
    assert (list(sent.permissions), sent.consumer_role, list(sent.prefixes)) == ([1, 6], 0, ["runs/a"])
    assert dict(sent.attributes) == {"namespace": "ml-*", "claim": "a=b"}
    assert (sent.max_ttl.seconds, sent.source_ip, sent.note) == (3600, "203.0.113.7", "nightly")
    assert abs(sent.expire_time.ToDatetime(UTC) - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=1)
    for line in (
        "name        │ training",
        "max ttl     │ 1h",
        "connectors  │ azure-blob-demo (uid-of-azure-blob-demo)",
    ):
        assert line in ran.out


@pytest.mark.parametrize(
    ("role", "number"),
    [
        ("orchestrator", 1),
        ("step-operator", 2),
        ("deployer", 3),
        ("orchestrator-with-delete", 4),
        ("step-operator-with-delete", 5),
    ],
)
def test_create_with_a_role(role: str, number: int, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the ready-made roles, and JSON for scripts."""
    answer = valetkey(*CREATE, "--role", role, "-o", "json").json
    assert (list(broker.requests[0].grant.permissions), broker.requests[0].grant.consumer_role) == ([], number)
    assert (answer["role"], answer["version"], answer["max_ttl_seconds"], answer["expire_time"]) == (
        role,
        1,
        None,
        None,
    )
    assert answer["connectors"] == [{"name": "azure-blob-demo", "id": "uid-of-azure-blob-demo"}]


def test_warnings_of_a_grant(valetkey: Runner, broker: FakeBroker) -> None:
    """A grant that gives more than it seems to, or nothing, is said to do so, apart from the data; it is stored."""
    broker.warnings = ["the principal key:* means all API keys", "the grant has paths"]
    for command in ((*CREATE, "--role", "deployer"), ("grant", "update", "training", "--note", "x")):
        ran = valetkey(*command)
        assert ran.code == 0
        assert ran.err == "Warning: the principal key:* means all API keys\nWarning: the grant has paths\n"
        assert "training" in ran.out
    ran = valetkey("grant", "update", "training", "--note", "y", "-o", "json")
    assert ran.json["name"] == "training"
    assert ran.err.splitlines()[0] == '{"warning": "the principal key:* means all API keys"}'


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "no permissions; expected --permissions such as read,list, or --role"),
        (("--permissions", "read", "--role", "deployer"), "--permissions and --role are both given"),
        (("--permissions", "sing"), "--permissions: 'sing' is unknown"),
        (("--role", "king"), "Invalid value for '--role'"),
        (("--role", "deployer", "--attribute", "ml"), "--attribute: 'ml' is no attribute; expected one such as"),
        (("--role", "deployer", "--attribute", "=ml"), "--attribute: '=ml' is no attribute"),
        (("--role", "deployer", "--attribute", "a=1", "--attribute", "a=2"), "--attribute: 'a' is given twice"),
        (("--role", "deployer", "--max-ttl", "soon"), "--max-ttl: 'soon' is not a duration"),
        (("--role", "deployer", "--expires", "in 3 weeks"), "--expires: 'in 3 weeks' is no time; expected a duration"),
        (("--role", "deployer", "--expires", "soon"), "--expires: 'soon' is no time; expected a duration such as"),
        (("--role", "deployer", "--expires", "20261231"), "--expires: '20261231' is no time"),
        (("--role", "deployer", "--expires", "9999999d"), "--expires: 9999999d lies outside the years 1 to 9999"),
    ],
)
def test_a_grant_that_is_not_meant(options: tuple[str, ...], says: str, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects against a grant that says something else than what was typed: exit 2, nothing sent."""
    ran = valetkey(*CREATE, *options)
    assert ran.code == 2
    assert ran.err.startswith(f"Error: {says}"), ran.err
    assert broker.requests == []


@pytest.mark.parametrize("left_out", ["--principal", "--connector", "--container"])
def test_who_and_what_are_needed(left_out: str, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects against a grant to nobody, or of nothing."""
    pairs = {"--principal": "key:a", "--connector": "c", "--container": "m", "--role": "deployer"}
    del pairs[left_out]
    ran = valetkey("grant", "create", "g", *(part for pair in pairs.items() for part in pair))
    assert (ran.code, f"Missing option '{left_out}'" in ran.err) == (2, True)
    assert broker.requests == []


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-12-31T00:00:00Z", datetime(2026, 12, 31, tzinfo=UTC)),
        ("2026-12-31", datetime(2026, 12, 31, tzinfo=UTC)),
        ("2026-12-31T02:00:00+02:00", datetime(2026, 12, 31, tzinfo=UTC)),
    ],
)
def test_an_end_at_a_time(text: str, moment: datetime, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects times as they are shown, and a time without a zone from meaning this machine's."""
    assert valetkey(*CREATE, "--role", "deployer", "--expires", text).code == 0
    assert broker.requests[0].grant.expire_time.ToDatetime(UTC) == moment


def test_list_describe_delete(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects what an admin sees of grants, and the end of one."""
    broker.grants["serving"] = grant(
        "serving", consumer_role=grant_pb.CONSUMER_ROLE_DEPLOYER, attributes={"namespace": "ml"}, prefixes=["a"]
    )
    listed = valetkey("grant", "list").out
    for cell in ("serving", "namespace=ml", "read, list (deployer)", "never"):
        assert cell in listed
    assert [found["name"] for found in valetkey("grant", "list", "-o", "json").json] == ["serving"]
    assert "created by  │ key:admin" in valetkey("grant", "describe", "serving").out
    assert valetkey("grant", "describe", "serving", "-o", "json").json["prefixes"] == ["a"]
    assert valetkey("grant", "describe", "nobody").code == 4
    assert valetkey("grant", "delete", "serving", "--yes").out == "Deleted grant `serving`.\n"
    gone = valetkey("grant", "delete", "serving", "-y", "-o", "json")
    assert (gone.code, "GRANT_NOT_FOUND" in gone.err) == (4, True)


def test_update_changes_what_is_given(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the rest of a grant: read, changed, written with the version and the connector that were read."""
    broker.grants["g"] = grant("g", note="old", source_ip="203.0.113.7", version=4)
    answer = valetkey("grant", "update", "g", "--note", "new", "--container", "x", "-o", "json").json
    sent = broker.requests[-1].grant
    assert (sent.version, sent.source_ip, sent.note, list(sent.containers)) == (4, "203.0.113.7", "new", ["x"])
    assert (list(sent.permissions), sent.connectors[0].uid) == ([1, 6], "uid-of-azure-blob-demo")
    assert answer["version"] == 5
    assert valetkey("grant", "update", "g", "--connector", "azure-blob-demo").code == 0
    assert broker.requests[-1].grant.connectors[0].uid == ""  # the broker looks whether it is still the same
    assert valetkey("grant", "update", "g", "--connector", "azure-blob-demo=u-2").code == 0
    assert broker.requests[-1].grant.connectors[0].uid == "u-2"


def test_update_switches_between_role_and_permissions(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects against a label that no longer fits the permissions."""
    broker.grants["g"] = grant("g")
    assert valetkey("grant", "update", "g", "--role", "orchestrator").code == 0
    assert (list(broker.requests[-1].grant.permissions), broker.requests[-1].grant.consumer_role) == ([], 1)
    assert valetkey("grant", "update", "g", "--permissions", "read").code == 0
    assert (list(broker.requests[-1].grant.permissions), broker.requests[-1].grant.consumer_role) == ([1], 0)


def test_update_takes_limits_away(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the documented words for "none"."""
    broker.grants["g"] = grant("g", note="n", source_ip="203.0.113.7", prefixes=["a"], attributes={"a": "b"})
    broker.grants["g"].max_ttl.seconds = 60
    broker.grants["g"].expire_time.FromDatetime(NOW)
    none = (
        "--note",
        "",
        "--source-ip",
        "",
        "--prefix",
        "",
        "--attribute",
        "",
        "--max-ttl",
        "none",
        "--expires",
        "never",
    )
    assert valetkey("grant", "update", "g", *none).code == 0
    sent = broker.requests[-1].grant
    assert (sent.note, sent.source_ip, list(sent.prefixes), dict(sent.attributes)) == ("", "", [], {})
    assert (sent.HasField("max_ttl"), sent.HasField("expire_time")) == (False, False)


def test_update_without_a_change(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects against a new version that changes nothing."""
    ran = valetkey("grant", "update", "g")
    assert (ran.code, ran.err) == (2, "Error: nothing to change; expected at least one option, such as --note\n")
    assert broker.requests == []


def test_update_says_that_somebody_else_was_faster(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the other admin's change: it is not overwritten, and the loser is told what to do."""

    class Changing(dict[str, grant_pb.Grant]):
        """Somebody changes the grant right after it was read."""

        def __getitem__(self, name: str) -> grant_pb.Grant:
            found = grant_pb.Grant()
            found.CopyFrom(super().__getitem__(name))
            super().__getitem__(name).version += 1
            return found

    broker.grants = Changing(g=grant("g"))
    ran = valetkey("grant", "update", "g", "--note", "mine")
    assert ran.code == 1
    assert "grant g was changed in the meantime, and nothing was changed now" in ran.err
    assert "reason CONFLICT" in ran.err


def test_explain_an_allowed_request(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the answer and its exit code."""
    broker.explanation.findings.add(grant="training", allows=True)
    ran = valetkey(*EXPLAIN)
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "Allowed by grant `training`.")
    assert "training │ yes" in ran.out
    (request,) = broker.requests
    assert (request.principal, list(request.permissions), dict(request.attributes)) == ("", [1, 5], {})


def test_explain_what_would_be_given(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects that a request is explained as it would be made, and that what is cut is said to be."""
    broker.explanation.ttl.seconds = 3600
    broker.explanation.ttl_limited_by = 1
    broker.explanation.source_ip = "203.0.113.7"
    ran = valetkey(*EXPLAIN, "--ttl", "2h", "--source-ip", "203.0.113.7")
    assert ran.out == (
        "Allowed by grant `training`, for 1h (the grant allows no longer life), from 203.0.113.7 only.\n"
    )
    assert (broker.requests[0].ttl.seconds, broker.requests[0].source_ip) == (7200, "203.0.113.7")
    answer = valetkey(*EXPLAIN, "-o", "json").json
    assert (answer["ttl_seconds"], answer["ttl_limited_by"], answer["error"]) == (3600, "grant-max-ttl", "")
    assert not broker.requests[1].HasField("ttl")


def test_explain_what_is_no_grants_matter(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the words of issuing where no grant would help, such as for a path."""
    broker.explanation = grant_pb.ExplainAccessResponse(error_message="no token for a path")
    ran = valetkey(*EXPLAIN)
    assert (ran.code, ran.out) == (3, "Not allowed: no token for a path.\n")
    gone = "there is no API key trainer: it was revoked, or not created yet"
    broker.explanation = grant_pb.ExplainAccessResponse(allowed=True, grant="training", caller_problem=gone)
    ran = valetkey(*EXPLAIN)
    assert (ran.code, ran.out) == (0, f"Allowed by grant `training`.\nBut nobody can ask for it now: {gone}.\n")
    assert valetkey(*EXPLAIN, "-o", "json").json["caller_problem"] == gone


def test_explain_a_refused_request(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the reasons, the nearest thing that works, and exit code 3, which scripts branch on."""
    broker.explanation = grant_pb.ExplainAccessResponse(
        findings=[
            grant_pb.GrantFinding(grant="training", reasons=["lacks delete"]),
            grant_pb.GrantFinding(grant="old", reasons=["ended 2026-01-01", "not for \x1b[2J this container"]),
        ],
        nearest="permissions read",
    )
    other = ("--principal", "key:other", "--connector", "c", "--attribute", "namespace=ml")
    ran = valetkey(*EXPLAIN, *other)
    assert ran.code == 3
    assert ran.out.splitlines()[-2:] == ["Not allowed.", "Nearest: permissions read"]
    assert "training │ no     │ lacks delete" in ran.out
    assert "\x1b" not in ran.out
    assert (broker.requests[0].principal, broker.requests[0].connector) == ("key:other", "c")
    assert dict(broker.requests[0].attributes) == {"namespace": "ml"}
    as_json = valetkey(*EXPLAIN, "-o", "json")
    assert (as_json.code, as_json.json["allowed"], as_json.json["nearest"]) == (3, False, "permissions read")
    assert as_json.json["findings"][0] == {"grant": "training", "allows": False, "reasons": ["lacks delete"]}
    broker.explanation = grant_pb.ExplainAccessResponse()
    assert valetkey(*EXPLAIN).out == "Not allowed: no grant was found.\n"


def test_explain_says_what_to_do_where_no_grant_allows_it(valetkey: Runner, broker: FakeBroker) -> None:
    """An admin gets the line that would allow it, everybody else what to ask an admin for; JSON stays the answer."""
    broker.explanation = grant_pb.ExplainAccessResponse()
    ask = "Note: to get access, ask an admin of the broker for a grant: principal key:trainer, resource az://models, "
    assert valetkey(*EXPLAIN).err == f"{ask}permissions read, delete\n"
    broker.caller.roles.append(common_pb2.ROLE_ADMIN)
    path = ("--resource", "az://models/runs/7/", "--permissions", "read")
    ran = valetkey("grant", "explain", *path, "--principal", "key:other", "--connector", "c")
    assert ran.err == (
        "Note: this would allow it: valetkey grant create NAME --principal key:other --connector c --container models "
        "--prefix runs/7 --permissions read\n"
    )
    assert valetkey(*EXPLAIN, "-o", "json").err == ""
    broker.explanation.error_message = "access was revoked"
    assert valetkey(*EXPLAIN).err == ""
