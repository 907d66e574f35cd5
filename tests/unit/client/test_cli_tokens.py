"""`valetkey token issue` against a fake broker."""

import re
import shlex

import pytest

from support.cli_runner import Runner
from support.fake_broker import SAS, FakeBroker
from support.watch_messages import end

ISSUE = ("token", "issue", "--resource", "az://demo-models", "--permissions", "read,list", "--ttl", "15m")
# What the Azure CLI, adlfs or object_store takes before a SAS token.
OVERRIDING = [
    *("AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_AUTH_MODE", "AZURE_STORAGE_CLIENT_ID"),
    *("AZURE_STORAGE_CLIENT_SECRET", "AZURE_STORAGE_KEY"),
    *("AZURE_STORAGE_MASTER_KEY", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_TENANT_ID", "AZURE_STORAGE_TOKEN"),
    "AZURE_STORAGE_USE_EMULATOR",
]
ACCOUNT_URL = "https://contosoml.blob.core.windows.net"
URL = f"{ACCOUNT_URL}/demo-models"


def test_a_table_and_the_bare_token_below_it(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects what a person sees: facts in a table, the token in one piece."""
    ran = valetkey(*ISSUE)
    assert ran.code == 0
    assert "expires       │ 2026-05-01T12:15:00Z" in ran.out
    assert ran.out.splitlines()[-1] == SAS
    (request,) = broker.requests
    assert (request.ttl.seconds, list(request.permissions), request.connector) == (900, [1, 6], "")


def test_connector_and_source_ip_travel(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the optional parts of a request."""
    assert valetkey(*ISSUE, "--connector", "demo", "--source_ip", "203.0.113.7").code == 0
    assert (broker.requests[0].connector, broker.requests[0].source_ip) == ("demo", "203.0.113.7")


def test_json(valetkey: Runner) -> None:
    """Protects scripts."""
    answer = valetkey(*ISSUE, "-o", "json").json
    assert answer["sas_token"] == SAS
    assert answer["sas_url"] == f"{URL}?{SAS}"
    assert answer["permissions"] == ["read", "list"]
    assert answer["expire_time"] == "2026-05-01T12:15:00Z"


def test_env_is_for_a_shell(valetkey: Runner) -> None:
    """Protects `eval "$(valetkey token issue … -o env)"`: quoted, and nothing else on standard output."""
    lines = valetkey(*ISSUE, "-o", "env").out.splitlines()
    assert [shlex.split(line) for line in lines] == [
        ["unset", *OVERRIDING],
        ["export", "AZURE_STORAGE_ACCOUNT=contosoml"],
        ["export", "AZURE_STORAGE_ACCOUNT_NAME=contosoml"],
        ["export", "AZURE_STORAGE_ENDPOINT=https://contosoml.blob.core.windows.net"],
        ["export", f"AZURE_STORAGE_SAS_TOKEN={SAS}"],
        ["export", f"AZURE_STORAGE_CONNECTION_STRING=BlobEndpoint={ACCOUNT_URL};SharedAccessSignature={SAS}"],
        ["export", "RCLONE_CONFIG_VALETKEY_TYPE=azureblob"],
        ["export", f"RCLONE_CONFIG_VALETKEY_SAS_URL={URL}?{SAS}"],
        ["export", f"VALETKEY_STORAGE_URL={URL}"],
        ["export", "VALETKEY_TOKEN_EXPIRES=2026-05-01T12:15:00Z"],
    ]


def test_a_login_that_wins_over_the_token_is_told(valetkey: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects pods with workload identity: obstore and polars would log in as the pod, and nobody would notice."""
    monkeypatch.setenv("AZURE_CLIENT_ID", "c")
    monkeypatch.setenv("AZURE_TENANT_ID", "t")
    assert valetkey(*ISSUE, "-o", "env").err == ""
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", "/run/token")
    ran = valetkey(*ISSUE, "-o", "env")
    assert ran.err == (
        "Warning: AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE are set: obstore, polars and delta-rs "
        "log in with them, not with the token; for these, run: unset AZURE_FEDERATED_TOKEN_FILE\n"
    )


@pytest.mark.parametrize(
    "given", [("--permissions", "read", "--permissions", "write"), ("--permissions", "write,read")]
)
def test_permissions_add_up(given: tuple[str, ...], valetkey: Runner, broker: FakeBroker) -> None:
    """Protects whoever repeats the option: the last one alone would count, and nothing would say so."""
    for command in (("token", "issue"), ("token", "watch"), ("grant", "explain")):
        broker.requests.clear()
        broker.stream = [end("GRANT_GONE")]
        valetkey(*command, "--resource", "az://demo-models", *given)
        asked = getattr(broker.requests[0], "request", broker.requests[0])
        assert sorted(asked.permissions) == [1, 4]


def test_an_option_that_counts_once_cannot_be_given_twice(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects against a token by one of two connectors that were named."""
    ran = valetkey(*ISSUE, "--connector", "a", "--connector", "b")
    assert (ran.code, ran.err) == (
        2,
        "Error: --connector is given more than once, and takes one value; expected it once\n",
    )
    glued = valetkey(*ISSUE, "--purpose=a", "--Purpose=b", "-o", "json")
    assert (glued.code, "--purpose is given more than once" in glued.err) == (2, True)
    assert broker.requests == []


def test_bare_values(valetkey: Runner) -> None:
    """Protects `$(…)`: exactly one line."""
    assert valetkey(*ISSUE, "-o", "url").out == f"{URL}?{SAS}\n"
    assert valetkey(*ISSUE, "-o", "sas").out == f"{SAS}\n"


def test_a_ttl_left_out_is_the_brokers(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the broker's default."""
    assert valetkey(*ISSUE[:-2]).code == 0
    assert not broker.requests[0].HasField("ttl")


def test_a_shorter_life_than_asked_is_noted(valetkey: Runner) -> None:
    """`--ttl 2h` became 1 h without a word: one line says so, and why, apart from what a script reads."""
    (line,) = [line for line in valetkey(*ISSUE[:-1], "2h").err.splitlines() if line.startswith("Note: --ttl")]
    assert line.startswith("Note: --ttl: the token ends earlier than asked, at 20")
    assert line.endswith(": the grant allows no longer life")
    assert "Note" not in valetkey(*ISSUE).err
    ran = valetkey(*ISSUE[:-1], "2h", "-o", "sas")
    assert ran.out.count("\n") == 1
    assert valetkey(*ISSUE[:-1], "2h", "-o", "json").json["ttl_limited_by"] == "grant-max-ttl"
    assert valetkey(*ISSUE, "-o", "json").json["ttl_limited_by"] == ""


@pytest.mark.parametrize(("ttl", "seconds"), [("0", 0), ("-5m", -300), ("90d", 7776000)])
def test_limits_are_the_brokers_to_judge(ttl: str, seconds: int, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects one source of truth for limits: the client sends what is a duration."""
    valetkey(*ISSUE[:-1], ttl)
    assert broker.requests[0].ttl.seconds == seconds


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--ttl", "soon", "--ttl: 'soon' is not a duration"),
        ("--ttl", str(2**63), "--ttl: 9223372036854775808 is longer than a duration can be"),
        ("--ttl", "9000000000000s", "--ttl: .* is longer than a duration can be"),
        ("--permissions", "", "--permissions: none given; expected some of read, add"),
        ("--permissions", " , ", "--permissions: none given"),
        ("--permissions", "read,sing", "--permissions: 'sing' is unknown; expected some of read, add"),
        ("--permissions", "rl", "--permissions: 'rl' is unknown; .* with commas between them .*: read,list"),
        ("--permissions", "read list", "--permissions: 'read list' is unknown; .*: read,list"),
    ],
)
def test_bad_values_are_refused_before_anything_is_sent(
    option: str, value: str, says: str, valetkey: Runner, broker: FakeBroker
) -> None:
    """Protects against tracebacks and guesses: exit 2, a clear message, nothing sent."""
    place = ISSUE.index(option)
    ran = valetkey(*ISSUE[:place], option, value, *ISSUE[place + 2 :])
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert broker.requests == []
    assert re.match(f"Error: {says}", ran.err)


def test_a_bare_number_is_told_to_be_seconds(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects whoever writes 15 and means minutes; the right spelling draws no note."""
    ran = valetkey(*ISSUE[:-1], "15")
    assert ran.code == 0
    assert ran.err == "Note: --ttl: 15 is taken as 15 seconds; write 15m for minutes\n"
    assert broker.requests[0].ttl.seconds == 15
    assert valetkey(*ISSUE).err == ""
    created = valetkey("api-key", "create", "k", "--role", "viewer", "--ttl", "90", "-o", "json")
    assert "--ttl: 90 is taken as 90 seconds" in created.err


MANY = ("token", "issue", "--permissions", "read", "--resource", "az://m/a", "--resource", "az://m/b")


def test_several_resources_are_one_call(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects a script with a thousand blobs: one call, and a list in the order that was asked."""
    ran = valetkey(*MANY, "--ttl", "15m", "-o", "json")
    assert ran.code == 0
    assert [each["resource_id"] for each in ran.json] == ["az://m/a", "az://m/b"]
    (request,) = broker.requests
    assert [(each.resource_id, each.ttl.seconds, list(each.permissions)) for each in request.requests] == [
        ("az://m/a", 900, [1]),
        ("az://m/b", 900, [1]),
    ]
    urls = valetkey(*MANY, "-o", "url").out.splitlines()
    assert urls == [f"https://contosoml.blob.core.windows.net/m/{name}?{SAS}" for name in "ab"]
    table = valetkey(*MANY).out
    assert "lease-1" in table
    assert table.splitlines()[-2:] == urls


def test_one_of_several_that_is_refused_hides_nothing(valetkey: Runner) -> None:
    """Protects what was issued: it is shown, and the exit code says that one is missing."""
    ran = valetkey(*MANY, "--resource", "az://denied/c")
    assert (ran.code, ran.out.count(SAS)) == (3, 2)
    assert "az://denied/c: no grant lets" in ran.err
    assert "reason RESOURCE_DENIED" in ran.err
    ran = valetkey(*MANY, "--resource", "az://denied/c", "-o", "json")
    assert (ran.code, ran.err) == (3, "")
    assert [each.get("error", {}).get("reason") for each in ran.json] == [None, None, "RESOURCE_DENIED"]


@pytest.mark.parametrize("output", ["env", "sas"])
def test_what_is_for_one_token_is_refused_for_several(valetkey: Runner, broker: FakeBroker, output: str) -> None:
    """Protects a shell from variables that each line overwrites; nothing is issued for nothing."""
    ran = valetkey(*MANY, "-o", output)
    assert (ran.code, ran.out, broker.requests) == (2, "", [])
    assert "expected table, json or url for several" in ran.err
