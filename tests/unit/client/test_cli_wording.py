"""What commands say where somebody slipped: the slip, and the word that was meant."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from support.cli_runner import Runner
from support.fake_broker import Failure, FakeBroker, connector
from valetkey.cli.prompts import Prompts
from valetkey.v1 import errors_pb2 as errors_pb

REGISTER = ("service-connector", "register", "a", "--tenant-id", "t-1", "--client-id", "c-1")


@pytest.mark.parametrize("words", [(*REGISTER, "--client-secret"), ("secret", "create", "s", "--values")])
def test_a_forgotten_at(words: tuple[str, ...], valetkey: Runner, broker: FakeBroker, tmp_path: Path) -> None:
    """Protects from a path that is sent as a secret; what was given is not shown, for it may be one."""
    file = tmp_path / "secret.txt"
    file.write_text("PLANTED")
    ran = valetkey(*words, str(file))
    told = f"Error: {words[-1]}: there is a file of that name; to read it, expected @FILE, with @ before it\n"
    assert (ran.code, ran.err) == (2, told)
    assert broker.requests == []


def test_several_labels_in_one(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects from a list that is silently empty, or a label that nobody meant."""
    for words in (("service-connector", "list"), (*REGISTER, "--client-secret", "s3cret")):
        ran = valetkey(*words, "-l", "team=ml,stage=prod")
        assert ran.code == 2
        assert "--label: 'team=ml,stage=prod' would be one label; expected one for each: -l team=ml -l" in ran.err
    assert broker.requests == []


@pytest.mark.parametrize(
    "words", ["service-connector delete", "grant delete", "secret delete", "api-key revoke"], ids=lambda words: words
)
def test_nobody_is_asked_about_what_is_not_there(words: str, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects from a question about nothing: it is looked for first, and there it ends."""
    ran = valetkey(*words.split(), "nothere")
    assert ran.code == 4
    assert "nothere" in ran.err
    assert "not confirmed" not in ran.err
    assert not {"DeleteConnector", "DeleteGrant", "DeleteSecret", "RevokeApiKey"} & {
        type(request).__name__.removesuffix("Request") for request in broker.requests
    }


def test_fields_to_remove_are_called_as_the_options_are(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects from words of the API that no option has."""
    broker.connectors = {"a": connector("a")}
    broker.failures["UpdateConnector"] = Failure(
        grpc.StatusCode.INVALID_ARGUMENT,
        "remove: expire_time is given as well; expected one of resource_id, tenant_id, labels.KEY",
        reason=errors_pb.ERROR_REASON_INVALID_FIELD,
        metadata={"field": "remove"},
    )
    ran = valetkey("service-connector", "update", "a", "--expires-at", "30d", "--remove", "expires-at")
    told = "Error: --remove: expires-at is given as well; expected one of resource-id, tenant-id, labels.KEY\n"
    assert ran.err.startswith(told)


def test_auto_configure_has_nothing_for_the_brokers_own_identity(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects from a sentence without its end: what else to type is said."""
    ran = valetkey("service-connector", "register", "a", "--auto-configure", "-a", "implicit")
    assert ran.code == 2
    assert ran.err.endswith("leave --auto-configure out: --auth-method implicit --implicit-source managed-identity\n")


def test_a_connector_keeps_its_secret(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects those who look for register's option at update: it says what to do instead."""
    ran = valetkey("service-connector", "update", "a", "--authentication-secret", "az_secret")
    assert ran.code == 2
    assert "--authentication-secret: a connector keeps the secret that it was registered with" in ran.err
    assert broker.requests == []


@pytest.mark.parametrize(("typed", "yes"), [("", True), ("N", False), ("yes", True)])
def test_yes_and_no_only(typed: str, yes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects from an answer to another question that counts as no."""
    lines, said = ["ja", "1", typed], []

    class Scripted(Prompts):
        def __init__(self) -> None:
            pass

        def say(self, text: str) -> None:
            said.append(text)

        def _line(self, prompt: str) -> Any:
            return lines.pop(0)

    assert Scripted().yes("Register it?", default=True) is yes
    assert said == ["expected y or n, or Enter for the one in capitals"] * 2
