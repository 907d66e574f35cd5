"""`valetkey service-connector update` against a fake broker: what is sent, what is shown first, and who is asked."""

from pathlib import Path

import grpc
import pytest

from support.cli_runner import Runner
from support.fake_broker import Failure, FakeBroker, connector
from valetkey.v1 import connector_service_pb2 as connector_pb
from valetkey.v1 import errors_pb2 as errors_pb
from valetkey.v1 import grant_service_pb2 as grant_pb

SECRET = "PLANTED~new.secret"
UPDATE = ("service-connector", "update", "a")


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return path


@pytest.fixture
def stored(broker: FakeBroker) -> FakeBroker:
    """A broker with the connector `a` for az://models of the account contosoml."""
    broker.connectors = {"a": connector("a", "az://models")}
    broker.connectors["a"].azure.storage_account = "contosoml"
    return broker


def bind(broker: FakeBroker) -> None:
    """Has a grant name the connector."""
    granted = [grant_pb.GrantedConnector(name="a", uid="uid-of-a")]
    broker.grants["training"] = grant_pb.Grant(
        name="training", principals=["key:trainer"], containers=["models"], connectors=granted
    )


def sent(broker: FakeBroker) -> connector_pb.UpdateConnectorRequest:
    """Returns the one change that was sent."""
    (request,) = [each for each in broker.requests if isinstance(each, connector_pb.UpdateConnectorRequest)]
    return request


def test_a_new_secret_asks_nobody(valetkey: Runner, stored: FakeBroker, secret_file: Path) -> None:
    """Protects the command of every rotation: the secret alone is sent, and shown nowhere."""
    bind(stored)
    ran = valetkey(*UPDATE, "--client_secret", f"@{secret_file}", "--expires-at", "2999-01-01")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("Successfully updated service connector `a` with access to the following resources:\n")
    assert "grants stay" in ran.err
    assert SECRET not in ran.out + ran.err
    request = sent(stored)
    assert request.azure_secret.client_secret == SECRET
    assert request.expire_time.ToDatetime().year == 2999
    assert not request.HasField("azure")
    assert request.auth_method == 0


def test_zenmls_words(valetkey: Runner, stored: FakeBroker) -> None:
    """Protects labels to add and to take away, fields to take away in the options' words, and values in one piece."""
    removed = ("--remove", "expires-at", "--remove", "labels.x/Y", "--remove", "resource_id")
    words = ("-l", "team=ml", "-l", "old", *removed)
    ran = valetkey(*UPDATE, *words, "--description", "d", "--no-verify", "-o", "json")
    assert ran.code == 0, ran.err
    request = sent(stored)
    assert dict(request.labels) == {"team": "ml"}
    assert list(request.remove) == ["expire_time", "labels.x/Y", "resource_id", "labels.old"]
    assert (request.description, request.no_verify) == ("d", True)
    assert ran.json["connector"]["unverified"] is True
    stored.requests.clear()
    ran = valetkey(*UPDATE, "--values", "{account_name: contosoml, account_key: PLANTED}", "-a", "account-key")
    assert ran.code == 0, ran.err
    assert (sent(stored).auth_method, sent(stored).azure_secret.account_key) == (2, "PLANTED")
    assert "PLANTED" not in ran.out + ran.err


def test_a_label_shows_no_resources(valetkey: Runner, stored: FakeBroker) -> None:
    """Protects against a table of nothing where nothing was verified."""
    ran = valetkey(*UPDATE, "-l", "team=ml")
    assert (ran.code, ran.out, ran.err) == (0, "Updated service connector `a`.\n", "")
    ran = valetkey(*UPDATE, "--client-id", "c-1", "--no-verify")
    assert ran.out == "Updated service connector `a`, unverified.\n"
    assert "service-connector verify a" in ran.err


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--storage-account", "otherml"), "storage account becomes otherml, it was contosoml"),
        (("--resource-id", "logs"), "resource id becomes az://logs, it was az://models"),
        (("--remove", "resource-id"), "resource id becomes none, it was az://models"),
        (("-a", "implicit"), "auth method becomes implicit, it was service-principal"),
    ],
)
def test_what_grants_come_to_mean_is_shown_first(
    valetkey: Runner, stored: FakeBroker, words: tuple[str, ...], shown: str
) -> None:
    """Protects the people behind a grant: where its connector leads elsewhere, nothing is changed without a yes."""
    bind(stored)
    ran = valetkey(*UPDATE, *words)
    assert ran.code == 2
    assert shown in ran.err
    assert "training (key:trainer: models)" in ran.err
    assert not any(isinstance(each, connector_pb.UpdateConnectorRequest) for each in stored.requests)
    assert valetkey(*UPDATE, *words, "--yes").code == 0


def test_where_nothing_changes_or_no_grant_is_bound_nobody_is_asked(valetkey: Runner, stored: FakeBroker) -> None:
    """Protects scripts that say every night what is so already, and connectors that nobody was given yet."""
    assert valetkey(*UPDATE, "--storage-account", "otherml").code == 0
    bind(stored)
    assert valetkey(*UPDATE, "--resource-id", "models", "--account-name", "otherml", "--cloud", "dev").code == 0


def test_a_refusal_says_what_to_do(valetkey: Runner, stored: FakeBroker) -> None:
    """Protects an operator who is no admin: exit code 3, and the broker's words."""
    message = "connector a would lead elsewhere; that needs the role admin"
    reason = errors_pb.ERROR_REASON_ROLE_REQUIRED
    stored.failures["UpdateConnector"] = Failure(grpc.StatusCode.PERMISSION_DENIED, message, reason)
    ran = valetkey(*UPDATE, "--storage-account", "otherml")
    assert (ran.code, ran.err.splitlines()[0]) == (3, f"Error: {message}")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), "nothing to change"),
        (("--remove", "client-secret"), "cannot be without its secret"),
        (("--storage-account", "x", "--account-name", "y"), "are the same"),
        (("-l", "=x"), "--label: "),
        (("--expires-at", "soon"), "--expires-at: "),
    ],
)
def test_bad_usage_sends_nothing(valetkey: Runner, stored: FakeBroker, words: tuple[str, ...], shown: str) -> None:
    """Protects against half a change."""
    ran = valetkey(*UPDATE, *words)
    assert ran.code == 2
    assert shown in ran.err
    assert stored.requests == []
