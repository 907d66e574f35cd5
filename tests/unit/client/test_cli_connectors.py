"""`valetkey service-connector` against a fake broker."""

from pathlib import Path

import grpc
import pytest

from support.cli_runner import Runner
from support.fake_access import NOW
from support.fake_broker import Failure, FakeBroker, connector, entry, resource
from valetkey.v1 import errors_pb2 as errors_pb

SECRET = "PLANTED~client.secret"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return path


def register(secret: str, *more: str) -> list[str]:
    words = {"--type": "azure", "--auth-method": "service-principal", "--resource-type": "blob-container"}
    return [
        "service-connector",
        "register",
        "azure-blob-demo",
        *(part for option, word in words.items() if option not in more for part in (option, word)),
        *("--tenant-id", "t-1", "--client-id", "c-1", "--client-secret", secret),
        *("--resource-id", "az://demo-zenmlartifactstore"),
        *more,
    ]


def test_register_as_the_issue_writes_it(valetkey: Runner, broker: FakeBroker, secret_file: Path) -> None:
    """Protects the command that every newcomer types first, and its table."""
    ran = valetkey(*register(f"@{secret_file}"))
    assert ran.code == 0
    assert ran.out.startswith(
        "Successfully registered service connector `azure-blob-demo` with access to the following resources:\n┏"
    )
    assert "│ RESOURCE NAMES               ┃" in ran.out
    assert "blob-container │ az://demo-models" in ran.out
    assert "az://demo-zenmlartifactstore" in ran.out
    assert ran.err == ""
    (request,) = broker.requests
    assert request.azure_secret.client_secret == SECRET
    assert (request.azure.tenant_id, request.azure.client_id) == ("t-1", "c-1")
    assert request.resource_id == "az://demo-zenmlartifactstore"


def test_underscored_spellings(valetkey: Runner, broker: FakeBroker, secret_file: Path) -> None:
    """Protects what ZenML users' fingers know: options, commands and words with underscores."""
    arguments = [
        f"--{word[2:].replace('-', '_')}" if word.startswith("--") else word
        for word in register(
            f"@{secret_file}",
            *(
                "--storage-account",
                "contosoml",
                "--subscription-id",
                "s-1",
                "--resource-group",
                "my_rg",
                "--cloud",
                "dev",
            ),
        )
    ]
    arguments[0] = "service_connector"
    arguments[arguments.index("service-principal")] = "service_principal"
    ran = valetkey(*arguments)
    assert ran.code == 0, ran.err
    azure = broker.requests[0].azure
    assert (azure.storage_account, azure.subscription_id, azure.cloud) == ("contosoml", "s-1", "dev")
    assert azure.resource_group == "my_rg"  # values stay as they are
    assert valetkey("service-connector", "list_resources", "--resource_type=blob_container").code == 0


def test_words_are_taken_in_any_case(valetkey: Runner, broker: FakeBroker, secret_file: Path) -> None:
    """Protects whoever writes Azure as Microsoft does; the broker gets its own spelling, and names stay as they are."""
    words = ("--type", "Azure", "--auth-method", "Service-Principal", "--resource-type", "BLOB_CONTAINER")
    ran = valetkey(*register(f"@{secret_file}", *words, "--resource-group", "My_RG", "-o", "JSON"))
    assert ran.code == 0, ran.err
    assert ran.json["connector"]["type"] == "azure"
    assert broker.requests[0].azure.resource_group == "My_RG"


def test_help_shows_each_option_once(bare: Runner) -> None:
    """Protects the help from doubled spellings."""
    ran = bare("service-connector", "register", "--help")
    assert ran.code == 0
    assert ran.out.count("--tenant-id") == 1
    assert "tenant_id" not in ran.out


def test_register_as_json(valetkey: Runner, secret_file: Path) -> None:
    """Protects scripts that read what was registered."""
    answer = valetkey(*register(f"@{secret_file}", "-o", "json")).json
    assert answer["connector"]["name"] == "azure-blob-demo"
    assert answer["connector"]["create_time"] == "2026-05-01T12:00:00Z"
    assert [found["resource_id"] for found in answer["resources"]] == [
        "az://demo-models",
        "az://demo-zenmlartifactstore",
    ]


def test_register_passes_warnings_on(valetkey: Runner, broker: FakeBroker, secret_file: Path) -> None:
    """Protects from a credential that ends unnoticed: whoever registers it is told, person or script."""
    broker.warnings = ["the connector's credential ends on 2026-11-28 07:00 UTC, within a day; replace it before"]
    ran = valetkey(*register(f"@{secret_file}"))
    assert "Warning: the connector's credential ends on" in ran.err
    assert valetkey(*register(f"@{secret_file}", "-o", "json")).json["warnings"] == broker.warnings


def test_a_register_that_fails_names_the_step_and_the_code(
    valetkey: Runner, broker: FakeBroker, secret_file: Path
) -> None:
    """Protects the message of a failed verification, and the secret from being repeated in it."""
    broker.failures["CreateConnector"] = Failure(
        grpc.StatusCode.FAILED_PRECONDITION,
        "log in to Entra: AADSTS7000215 invalid client secret; nothing was stored",
        errors_pb.ERROR_REASON_CLOUD_CREDENTIAL_REJECTED,
        {"azure_code": "AADSTS7000215"},
    )
    ran = valetkey(*register(f"@{secret_file}"))
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err == (
        "Error: log in to Entra: AADSTS7000215 invalid client secret; nothing was stored\n"
        "reason CLOUD_CREDENTIAL_REJECTED · request id req-1\n"
    )
    assert SECRET not in ran.err


def test_list_and_describe(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects what an ops person sees of connectors, as a table and as JSON."""
    broker.connectors = {"a": connector("a", "az://models"), "b": connector("b")}
    table = valetkey("service-connector", "list").out
    assert "az://models" in table
    assert "<all it reaches>" in table
    assert [found["name"] for found in valetkey("service-connector", "list", "-o", "json").json] == ["a", "b"]
    described = valetkey("service-connector", "describe", "a").out
    assert "credential version │ 1" in described
    assert "storage account" not in described  # it has no value
    assert valetkey("service-connector", "describe", "a", "--output=json").json["azure"]["tenant_id"] == "t-1"


def test_what_is_noted_down_is_sent_and_shown(valetkey: Runner, broker: FakeBroker, secret_file: Path) -> None:
    """Protects ZenML's words for a connector's description, labels and end, and what an ops person sees of them."""
    noted = ("--description", "nightly", "-l", "team=ml", "--label", "stage", "--expires-at", "2999-06-01 12:00:00")
    ran = valetkey(*register(f"@{secret_file}", *noted, "--expires_skew_tolerance", "900", "--no-verify"))
    assert (ran.code, ran.out) == (0, "Registered service connector `azure-blob-demo`, unverified.\n")
    assert ran.err == "Note: see whether it works with: valetkey service-connector verify azure-blob-demo\n"
    (request,) = broker.requests
    assert (request.description, dict(request.labels), request.no_verify) == ("nightly", {"team": "ml", "stage": ""}, 1)
    assert (request.expire_time.ToDatetime().year, request.expires_skew_tolerance.seconds) == (2999, 900)
    table = valetkey("service-connector", "describe", "azure-blob-demo").out
    for line in (
        "labels                 │ stage, team=ml",
        "state                  │ unverified",
        "15m",
        "2999-06-01T12",
    ):
        assert line in table
    shown = valetkey("service-connector", "describe", "azure-blob-demo", "-o", "json").json
    assert shown["labels"] == {"stage": "", "team": "ml"}
    assert (shown["expire_time"], shown["expires_skew_tolerance"]) == ("2999-06-01T12:00:00Z", 900)
    assert (shown["unverified"], shown["state"]) == (True, "unverified")


def test_a_list_is_narrowed_down_and_shows_what_is_out_of_the_ordinary(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects filters, and the ops person from overlooking a credential that ended or was never tried."""
    ended, plain = connector("ended"), connector("plain")
    ended.expire_time.FromJsonString("2000-01-01T00:00:00Z")
    ended.labels["team"] = "ml"
    broker.connectors = {"ended": ended, "plain": plain}
    words = ("--type", "azure", "--auth-method", "service_principal", "--resource-type", "blob-container")
    ran = valetkey("service-connector", "list", *words, "-l", "team=ml")
    assert "expired" in ran.out
    assert "team=ml" in ran.out
    assert "plain" not in ran.out
    request = broker.requests[-1]
    assert (request.type, request.auth_method, request.resource_type, dict(request.labels)) == (1, 1, 1, {"team": "ml"})
    del broker.connectors["ended"]
    head = valetkey("service-connector", "list").out
    assert not {"LABELS", "STATE"} & set(head.replace("│", " ").replace("┃", " ").split())
    for wrong in (("-l", "=x"), ("-l", "a=1", "-l", "a=2")):
        assert valetkey("service-connector", "list", *wrong).err.startswith("Error: --label: ")


def test_verify_and_delete(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects verify and delete."""
    broker.connectors = {"a": connector("a")}
    assert "works, with access to" in valetkey("service-connector", "verify", "a").out
    assert valetkey("service-connector", "verify", "a", "-o", "json").json["connector"] == "a"
    assert valetkey("service-connector", "delete", "a", "--yes").out == "Deleted service connector `a`.\n"
    ran = valetkey("service-connector", "delete", "a", "--yes")
    assert (ran.code, "Error: there is no connector 'a'\n" in ran.err) == (4, True)
    broker.connectors = {"a": connector("a")}
    assert valetkey("service-connector", "delete", "a", "-y", "-o", "json").json == {"deleted": "a"}


def test_one_failing_connector_does_not_hide_the_others(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects list-resources: the error stands in its row, and the command succeeds."""
    broker.entries.append(entry("broken", error="AADSTS7000215 [red]invalid[/red] client secret"))
    ran = valetkey("service-connector", "list-resources", "--resource-type", "blob-container")
    assert ran.code == 0
    for column in ("CONNECTOR ID", "CONNECTOR NAME", "CONNECTOR TYPE", "RESOURCE TYPE", "RESOURCE NAMES"):
        assert column in ran.out
    assert "az://demo-zenmlartifactstore" in ran.out
    # A broker's text is text: it neither colours nor breaks anything.
    assert "error: AADSTS7000215 [red]invalid[/red] client secret" in ran.out
    good, broken = valetkey("service-connector", "list-resources", "-o", "json").json
    assert (good["error"], broken["error"]["reason"]) == (None, "CLOUD_CREDENTIAL_REJECTED")
    assert good["connector_id"] == "uid-of-azure-blob-demo"


def test_connectors_for_all_resource_types(valetkey: Runner, broker: FakeBroker, secret_file: Path) -> None:
    """Protects ZenML's multi-type connectors: registered without --resource-type, shown with a row for each type."""
    shelf = resource("shelf-a")
    shelf.resource_type, shelf.resource_id = 99, "shelf://shelf-a"  # type: ignore[assignment]
    broker.reached = [resource("models"), shelf]
    words = ("--tenant-id", "t-1", "--client-id", "c-1", "--client-secret", f"@{secret_file}")
    ran = valetkey("service-connector", "register", "every", "--type", "azure", *words)
    assert broker.requests[-1].resource_type == 0
    assert "blob-container │ az://models" in ran.out
    assert "unknown-99     │ shelf://shelf-a" in ran.out
    assert "unknown-99     │ shelf://shelf-a" in valetkey("service-connector", "verify", "every").out
    shelves = entry("azure-blob-demo", shelf)
    shelves.resource_type = 99  # type: ignore[assignment]
    broker.entries.append(shelves)
    blobs, listed = valetkey("service-connector", "list-resources", "-o", "json").json
    assert (blobs["resource_type"], listed["resource_type"]) == ("blob-container", "unknown-99")
    assert [each["resource_id"] for each in listed["resources"]] == ["shelf://shelf-a"]
    broker.connectors["every"].resource_types.append(99)  # type: ignore[arg-type]
    table = valetkey("service-connector", "list").out
    assert "RESOURCE TYPES" in table
    assert "all types" in table
    assert "all types (blob-container, unknown-99)" in valetkey("service-connector", "describe", "every").out
    (shown,) = valetkey("service-connector", "list", "-o", "json").json
    assert (shown["resource_type"], shown["resource_types"]) == ("", ["blob-container", "unknown-99"])
    assert valetkey("service-connector", "update", "every", "-r", "blob_container").code == 0
    assert broker.requests[-1].resource_type == 1
    assert valetkey("service-connector", "update", "every", "--remove", "resource-type").code == 0
    assert list(broker.requests[-1].remove) == ["resource_type"]


def test_list_resources_asks_anew_only_when_told(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects the cloud from being asked at each listing."""
    assert valetkey("service-connector", "list-resources").code == 0
    assert not broker.requests[-1].refresh
    assert valetkey("service-connector", "list-resources", "--refresh").code == 0
    assert broker.requests[-1].refresh


def test_list_resources_fails_when_all_fail(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects scripts that look at the exit code; nothing to list is no failure."""
    broker.entries = [entry("broken", error="no")]
    assert valetkey("service-connector", "list-resources").code == 1
    broker.entries = []
    ran = valetkey("service-connector", "list-resources")
    assert (ran.code, ran.err) == (0, "Note: no grant lets you use any resource\n")
    assert valetkey("service-connector", "list-resources", "--connector", "a").err == ""
    of_a_type = valetkey("service-connector", "list-resources", "--resource-type", "blob-container")
    assert of_a_type.err == "Note: no grant lets you use any blob-container\n"


def test_one_name_in_two_accounts_shows_the_urls(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects against taking one container for another of the same name."""
    broker.entries = [entry("a", resource("models"), resource("logs")), entry("b", resource("models", "other"))]
    out = valetkey("service-connector", "list-resources").out
    assert "az://models (https://contosoml.blob.core.windows.net/models)" in out
    assert "az://models (https://other.blob.core.windows.net/models)" in out
    assert "az://logs (" not in out
    broker.entries = [entry("a", resource("models")), entry("b", resource("models"))]
    assert "https://" not in valetkey("service-connector", "list-resources").out


def test_what_is_left_out_is_counted(valetkey: Runner, broker: FakeBroker, secret_file: Path) -> None:
    """Protects those with many containers from taking the first ones for all."""
    broker.left_out = 19_000
    verify = ["service-connector", "verify", "azure-blob-demo"]
    for command in (register(f"@{secret_file}"), verify):
        err = valetkey(*command).err
        assert "19000 more are not shown; `valetkey service-connector list-resources --connector azure-blob-demo" in err
    assert valetkey(*verify, "-o", "json").json["left_out"] == 19_000
    broker.left_out = 0
    assert valetkey(*verify).err == ""


def test_a_table_in_a_pipe_is_as_wide_as_it_needs(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects `| grep`: nothing is cut or wrapped where no terminal is."""
    name = "m" * 400
    broker.entries = [entry("a", resource(name))]
    assert f"az://{name} " in valetkey("service-connector", "list-resources").out


@pytest.mark.parametrize("words", [("--auth-method", "magic"), ("--type", "aws"), ("--resource-type", "queue")])
def test_unknown_words_are_refused_with_the_known_ones(
    words: tuple[str, str], valetkey: Runner, broker: FakeBroker
) -> None:
    """Protects against sending what the broker does not know."""
    ran = valetkey(*register("@secret", *words))
    assert ran.code == 2
    assert ran.err.startswith(f"Error: Invalid value for '{words[0]}'")
    assert broker.requests == []


def test_a_resource_that_nobody_reaches(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects against a table of empty cells: a note says that nothing was found; an error keeps its row."""
    broker.entries = [entry("a"), entry("b")]
    ran = valetkey("service-connector", "list-resources", "--resource-id", "nope1")
    assert (ran.code, ran.out, ran.err) == (0, "", "Note: nothing found for az://nope1\n")
    broker.entries.append(entry("broken", error="AADSTS7000215"))
    ran = valetkey("service-connector", "list-resources", "--resource-id", "az://nope1")
    assert "error: AADSTS7000215" in ran.out
    assert "uid-of-a " not in ran.out
    ran = valetkey("service-connector", "list-resources", "--resource-id", "nope1", "-o", "json")
    assert [found["connector"] for found in ran.json] == ["a", "b", "broken"]
    broker.entries = [entry("a"), entry("b", resource("models"))]
    ran = valetkey("service-connector", "list-resources", "--resource-id", "models")
    assert ("uid-of-a " in ran.out, "uid-of-b " in ran.out, ran.err) == (False, True, "")


def test_a_connector_that_reaches_nothing_says_so(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects a plain listing from cells that look as if something had been lost."""
    broker.entries = [entry("a")]
    assert "│ (none) " in valetkey("service-connector", "list-resources").out


def test_a_connector_whose_credential_is_refused(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects whoever looks why jobs fail: the list says which connector, and the connector what mends it."""
    sick, well = connector("sick"), connector("well")
    sick.health.message, sick.health.mend = "Entra refused it", "valetkey service-connector update sick …"
    sick.health.reason = errors_pb.ERROR_REASON_CLOUD_CREDENTIAL_REJECTED
    well.health.healthy = True
    for each in (sick, well):
        each.health.since_time.FromDatetime(NOW)
    broker.connectors = {"sick": sick, "well": well, "idle": connector("idle")}
    shown = {each["name"]: each for each in valetkey("service-connector", "list", "-o", "json").json}
    assert {name: each["state"] for name, each in shown.items()} == {"sick": "unhealthy", "well": "", "idle": ""}
    assert shown["sick"]["health"] == {
        "healthy": False,
        "since_time": shown["well"]["health"]["since_time"],
        "reason": "CLOUD_CREDENTIAL_REJECTED",
        "message": "Entra refused it",
        "mend": "valetkey service-connector update sick …",
    }
    assert shown["idle"]["health"] is None
    described = valetkey("service-connector", "describe", "sick").out
    assert "refused by the cloud since" in described
    assert "mend it with" in described
