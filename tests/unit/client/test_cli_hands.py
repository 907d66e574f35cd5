"""What people's fingers type: ZenML's words, options in the wrong place, Tab; and terminals of every width."""

import os
from datetime import timedelta

import grpc
import pytest

from support.children import unmeasured
from support.cli_runner import Runner
from support.e2e import WARM_VALETKEY
from support.fake_access import NOW, grant, lease
from support.fake_broker import API_KEY, Failure, FakeBroker, connector, entry, resource
from valetkey.v1 import api_key_service_pb2 as api_key_pb
from valetkey.v1 import errors_pb2 as errors_pb

REGISTER = "service-connector register NAME --auth-method service-principal"

# As on the page of ZenML's Azure artifact store, and beside it in ZenML's own help.
ZENML = {
    "service-connector register vk --type azure --auth_method access-token --token=x": "ends within the hour",
    "service-connector register vk --type azure --auth-method sas-token": "hands SAS tokens out, and takes none",
    "service-connector rename vk vk2": "a connector keeps its name",
    "service-connector login vk": "token issue",
    "artifact-store register az_store -f azure --path=az://c": (
        "type: zenml artifact-store register az_store -f valetkey --path=az://c (once"
    ),
    "artifact-store register az_store -f azure --path=az://c --authentication_secret=az_secret": (
        "--type valetkey --auth-method identity --endpoint=HOST:PORT --resource-type blob-container; then type: "
        "zenml artifact-store register az_store -f valetkey --path=az://c --connector=NAME;"
    ),
    "artifact-store register az --flavor=azure --path az://c --account_key=x -c vk": (
        "type: zenml artifact-store register az -f valetkey --path=az://c --connector=vk (once"
    ),
    "artifact-store connect az_store -i": "type: zenml artifact-store connect az_store -i;",
    "artifact-store connect az_store --connector x": "type: zenml artifact-store connect az_store --connector=x;",
    "artifact-store list": "service-connector list-resources",
    "artifact-store": "type: zenml artifact-store --help;",
    "artifact-store delete x": "type: zenml artifact-store delete x;",
    "secret get az_secret": "no call gives a value back",
    "secret export az_secret": "secret describe NAME",
    "stack register s -a az_store -o k8s --set": "type: zenml stack register s -a az_store -o k8s --set;",
    "stack set s": "type: zenml stack set s;",
    "stack list": "type: zenml stack list;",
    "orchestrator register o --flavor kubernetes": "--role orchestrator",
    "step-operator register s": "--role step-operator",
    "step_operator register s": "--role step-operator",
    "model-deployer register m": "--role deployer",
    "integration install azure": "pip install",
    "login https://zenml.example.com": "VALETKEY_ENDPOINT",
    "connect --url https://zenml.example.com": "VALETKEY_ENDPOINT",
    "disconnect": "valetkey logout",
    "init": "VALETKEY_ENDPOINT",
    "status": "service-connector list-resources",
}


@pytest.mark.parametrize("typed", ZENML)
def test_zenmls_words_are_answered_with_what_to_type_here(typed: str, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects whoever comes from ZenML from "No such command": one line, exit 2, nothing sent."""
    ran = valetkey(*typed.split())
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1), ran
    assert ZENML[typed] in ran.err
    assert ran.err.startswith("Error: ")
    assert "Value error" not in ran.err
    assert broker.requests == []


@pytest.mark.parametrize(
    "typed",
    [
        "artifact-store register az -f azure --path=az://c --account_key=s3cret",
        "artifact-store register az -f azure --path=az://c --account_key s3cret",
        "artifact-store register az -f azure --path=az://c --authentication_secret=s3cret",
        "stack register s -a az --whatever s3cret --set",
    ],
)
def test_no_secret_is_said_again(typed: str, valetkey: Runner) -> None:
    """The answer repeats names and places alone: the line may hold what ZenML would have kept as a secret."""
    ran = valetkey(*typed.split())
    assert "type: zenml " in ran.err
    assert "s3cret" not in ran.err


def test_what_is_not_zenmls_keeps_its_own_error(valetkey: Runner) -> None:
    """Protects slips of our own words from an answer about ZenML."""
    assert valetkey("service-connector", "lst").err.startswith("Error: No such command 'lst'. Did you mean")
    assert valetkey("frobnicate").err.startswith("Error: No such command 'frobnicate'")
    assert "nothing says how to log in" in valetkey("service-connector", "register", "x").err


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (
            "-o json token issue --resource x",
            "No such option: -o; it is an option of the commands below and stands behind",
        ),
        ("token -o json issue", "stands behind them: valetkey token COMMAND -o …"),
        ("--resource x token issue", "stands behind them: valetkey COMMAND --resource …"),
    ],
)
def test_an_option_before_its_command_is_told_its_place(typed: str, says: str, bare: Runner) -> None:
    """Protects whoever puts it first, as `docker` and `kubectl` let them."""
    ran = bare(*typed.split())
    assert (ran.code, says in ran.err) == (2, True), ran.err
    assert "stands behind" not in bare("--bogus", "token", "issue").err


def test_the_version_has_a_short_form(bare: Runner) -> None:
    """Protects `-V`, which most commands take."""
    assert bare("-V").out == bare("--version").out != ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completes(shell: str) -> None:
    """Protects completion: the script that is installed, and what it asks for."""
    script = WARM_VALETKEY.run(
        ["valetkey", "--show-completion", shell],
        environment={**unmeasured(os.environ), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert "_VALETKEY_COMPLETE" in script.stdout, script
    asked = WARM_VALETKEY.run(
        ["valetkey"],
        environment={
            **unmeasured(os.environ),
            "_VALETKEY_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": "valetkey service-connector desc",
            "COMP_CWORD": "2",
            "_TYPER_COMPLETE_ARGS": "valetkey service-connector desc",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    )
    assert "describe" in asked.stdout, asked


def wide(broker: FakeBroker) -> str:
    """Lets the broker know connectors with names that do not fit beside each other; returns one."""
    name = "a-connector-of-a-rather-long-name-for-the-nightly-training"
    broker.entries = [entry(name, resource("demo-zenmlartifactstore-of-the-team")), entry("b", error="Azure is away")]
    return name


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_no_width_breaks_a_name(
    columns: str, valetkey: Runner, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects names from being cut in two: they are searched for, copied and pasted."""
    name = wide(broker)
    monkeypatch.setenv("COLUMNS", columns)
    ran = valetkey("service-connector", "list-resources")
    for word in (name, f"uid-of-{name}", "az://demo-zenmlartifactstore-of-the-team"):
        assert word in ran.out
    assert "CONNECTOR NAME: b\n" in ran.out
    assert "RESOURCE NAMES: error: Azure is away" in ran.out


def test_columns_is_heeded_in_a_pipe(valetkey: Runner, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects `watch` and pagers, which set it; without it nothing is wrapped."""
    broker.entries = [entry("a", error="what went wrong is told in a sentence " * 6)]
    unlimited = valetkey("service-connector", "list-resources").out
    assert max(map(len, unlimited.splitlines())) > 200
    monkeypatch.setenv("COLUMNS", "100")
    limited = valetkey("service-connector", "list-resources").out
    assert max(map(len, limited.splitlines())) <= 100
    assert limited.startswith("┏")
    assert valetkey("service-connector", "list-resources", "-o", "json").json[0]["connector"] == "a"


def refusal(field: str) -> Failure:
    return Failure(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"{field}: is odd; expected another",
        errors_pb.ERROR_REASON_INVALID_FIELD,
        {"field": field},
    )


@pytest.mark.parametrize(
    ("method", "field", "shown", "typed"),
    [
        ("CreateApiKey", "expire_time", "--ttl", "api-key create k --ttl 400d"),
        ("CreateApiKey", "name", "NAME", "api-key create K"),
        ("CreateApiKey", "roles", "--role", "api-key create k --role viewer"),
        (
            "CreateGrant",
            "expire_time",
            "--expires",
            "grant create g --principal p --connector c --container m --permissions read --expires 1d",
        ),
        (
            "CreateGrant",
            "principals",
            "--principal",
            "grant create g --principal p --connector c --container m --permissions read",
        ),
        (
            "CreateGrant",
            "max_ttl",
            "--max-ttl",
            "grant create g --principal p --connector c --container m --permissions read --max-ttl 1s",
        ),
        ("IssueToken", "resource_id", "--resource", "token issue --resource x --permissions read"),
        ("IssueToken", "source_ip", "--source-ip", "token issue --resource x --permissions read --source-ip y"),
        ("ListResources", "resource_id", "--resource-id", "service-connector list-resources --resource-id x"),
        ("ListLeases", "resource_id", "--resource", "lease list --resource x"),
        ("GetConnector", "odd_one", "odd_one", "service-connector describe c"),
    ],
)
def test_errors_name_the_option_and_not_the_field(
    method: str, field: str, shown: str, typed: str, valetkey: Runner, broker: FakeBroker
) -> None:
    """Protects whoever knows the options and has never seen the API."""
    broker.failures[method] = refusal(field)
    ran = valetkey(*typed.split())
    assert (ran.code, ran.err.splitlines()[0]) == (1, f"Error: {shown}: is odd; expected another")


def stored(broker: FakeBroker) -> None:
    """Has one of each."""
    broker.connectors = {"azure-blob-demo": connector("azure-blob-demo"), "spare": connector("spare")}
    broker.grants = {"training": grant("training"), "other": grant("other", principals=["key:b"])}
    broker.leases = [lease(1), lease(2, minutes=30), lease(3, principal="key:b")]
    key = api_key_pb.ApiKey(name="trainer")
    key.expire_time.FromDatetime(NOW + timedelta(days=1))
    broker.api_keys["trainer"] = key


NEWS = (
    "Note: brokers that reach Vault honour it for 5 s at most; one that is cut off from Vault may do so until its "
    "vault.max_stale_seconds are over\n"
)
DEEDS = {
    "service-connector delete azure-blob-demo": (
        "delete service connector azure-blob-demo: its secret goes, its streams of tokens end; grants that name it are "
        "void: other, training; 3 tokens that are out live on, the last until 2026-05-01T12:30:00Z"
    ),
    "grant delete training": (
        "delete grant training: streams of tokens of key:trainer that live by it end, unless another grant allows "
        "them; 3 tokens that are out live on, the last until 2026-05-01T12:30:00Z"
    ),
    "api-key revoke trainer": (
        "revoke API key trainer: calls with it are refused and its streams of tokens end; "
        "3 tokens that are out live on, the last until 2026-05-01T12:30:00Z; "
        "grants that name key:trainer stay, and count for a new key of this name: training"
    ),
}


@pytest.mark.parametrize("typed", DEEDS)
def test_what_is_done_for_good_needs_a_yes_and_says_what_goes_along(
    typed: str, valetkey: Runner, broker: FakeBroker
) -> None:
    """Protects from scripts that delete without meaning to, and whoever does not know what hangs on it."""
    stored(broker)
    before = (dict(broker.connectors), dict(broker.grants), dict(broker.api_keys))
    ran = valetkey(*typed.split())
    note, error = ran.err.splitlines()
    assert (ran.code, ran.out) == (2, "")
    assert note == f"Note: {DEEDS[typed]}"
    deed = DEEDS[typed].partition(":")[0]
    assert error == (
        f"Error: {deed}: not confirmed, and there is no terminal to ask at; nothing was changed; pass --yes"
    )
    assert (broker.connectors, broker.grants, broker.api_keys) == before
    done = valetkey(*typed.split(), "--yes")
    assert (done.code, done.err) == (0, f"Note: {DEEDS[typed]}\n{NEWS}")
    assert (broker.connectors, broker.grants, broker.api_keys) != before


def test_what_hangs_on_nothing(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the note from naming grants and tokens that there are not."""
    stored(broker)
    broker.leases.clear()
    said = valetkey("service-connector", "delete", "spare", "-y").err
    assert said.endswith(f"its streams of tokens end; no grant names it; no tokens are out\n{NEWS}")


def test_who_may_delete_and_not_look_is_not_kept_from_it(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects a deed from failing over the note about it."""
    stored(broker)
    for method in ("GetConnector", "ListGrants", "ListLeases"):
        broker.failures[method] = Failure(grpc.StatusCode.PERMISSION_DENIED, "no")
    ran = valetkey("service-connector", "delete", "azure-blob-demo", "--yes")
    assert (ran.code, "grants that name it are void; tokens that are out live on until they expire" in ran.err) == (
        0,
        True,
    )
    assert API_KEY not in ran.err
