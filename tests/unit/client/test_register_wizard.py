"""`register --interactive`: what it asks, what it sends, what it shows of secrets, and that leaving stores nothing."""

import shlex
from typing import Any

import grpc
import pytest

from support.cli_runner import Runner
from support.fake_broker import Failure, FakeBroker, connector, resource
from support.second_resource_type import add_second_type
from support.terminal import CTRL_C, at_terminal
from valetkey.cli import connector_register, register_wizard
from valetkey.cli.prompts import Left, Prompts
from valetkey.errors import SettingsError
from valetkey.v1 import errors_pb2 as errors_pb

SECRET = "PLANTED~client.secret"
# Every question of a plain run, with an answer.
ANSWERS = [
    ("Name: ", "models"),
    ("Description (Enter leaves it out): ", "of the trainers"),
    ("Auth method [service-principal]: ", "1"),
    ("Which of them [client-secret]: ", ""),
    ("Tenant id, such as ", "t-1"),
    ("Client id, such as ", "c-1"),
    ("(not shown): ", SECRET),
    ("Narrow that down? [y/N] ", ""),
    ("Resource: ", "2"),
    ("Register it? [Y/n] ", ""),
]


def test_the_wizard_at_a_terminal(broker: FakeBroker) -> None:
    """Protects the way of a newcomer: explained, asked, checked, chosen, confirmed; the secret is never shown."""
    code, out, shown = at_terminal(broker, ANSWERS, "service-connector", "register", "--type", "azure", "-i")
    assert code == 0, shown
    assert "Successfully registered service connector `models`" in out
    assert SECRET not in shown + out
    (request,) = [sent for sent in broker.requests if type(sent).__name__ == "CreateConnectorRequest"]
    assert (request.name, request.resource_id) == ("models", "az://demo-zenmlartifactstore")
    assert (request.azure.tenant_id, request.azure.client_id) == ("t-1", "c-1")
    assert request.azure_secret.client_secret == SECRET
    for explained in ("How it logs in", "An application in Entra", "goes to Vault", "1. az://demo-models"):
        assert explained in shown


def test_ctrl_c_at_a_terminal(broker: FakeBroker) -> None:
    """Protects whoever changes their mind at the hidden prompt: exit code 130, and it says that nothing was stored."""
    answers = [*ANSWERS[:6], ("(not shown): ", CTRL_C)]
    code, out, shown = at_terminal(broker, answers, "service-connector", "register", "-i")
    assert (code, out, broker.connectors) == (130, "", {})
    assert "Left; nothing was stored." in shown
    assert "Traceback" not in shown


class Script:
    """Answers questions in this process; records what was asked and said."""

    def __init__(self, answers: list[tuple[str, Any]]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.said: list[str] = []

    def answer(self, question: str) -> str:
        self.asked.append(question)
        expected, given = self.answers.pop(0)
        assert expected in question, (expected, question)
        if isinstance(given, type):
            raise given
        return str(given)


@pytest.fixture
def play(valetkey: Runner, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `register -i` with answers, and returns what ran and the script."""

    def run(answers: list[tuple[str, Any]], *arguments: str, read: Any = None) -> tuple[Any, Script]:
        script = Script(answers)

        class Scripted(Prompts):
            def __init__(self, screen: Any) -> None:
                self.screen = screen

            def say(self, text: str) -> None:
                script.said.append(text)

            def show(self, text: str) -> None:
                script.said.append(text)

            def _line(self, prompt: str) -> str:
                return script.answer(prompt)

        monkeypatch.setattr(connector_register, "Prompts", Scripted)
        monkeypatch.setattr(
            register_wizard,
            "read_secret",
            read or (lambda _field, given, _screen: script.answer("(not shown): ") if given == "-" else given),
        )
        return valetkey("service-connector", "register", "-i", *arguments), script

    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_KEY"):
        monkeypatch.delenv(name, raising=False)
    return run


@pytest.mark.parametrize(("typed", "sent", "shown"), [("", 0, False), ("blob-container", 1, True), ("2", 1, True)])
def test_the_wizard_asks_which_of_several_types(
    typed: str, sent: int, shown: bool, play: Any, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects multi-type connectors: all types, unless the person chooses one of those that the broker has."""
    add_second_type(monkeypatch)
    answers = [*ANSWERS[:2], ("Resource type [all]: ", typed), *ANSWERS[2:-2], ("Resource: ", ""), ANSWERS[-1]]
    ran, script = play(answers)
    assert ran.code == 0
    assert broker.requests[-1].resource_type == sent
    assert "  3. unknown-99: A shelf that only a test has." in script.said
    command = script.said[script.said.index("The same without questions:") + 1]
    assert ("--resource-type blob-container" in command) is shown


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, Left])
def test_leaving_at_any_question_stores_nothing(leaving: type[BaseException], play: Any, broker: FakeBroker) -> None:
    """Protects against half a connector: Ctrl-C and Ctrl-D at every single question."""
    for number, (question, _) in enumerate(ANSWERS):
        ran, script = play([*ANSWERS[:number], (question, leaving)])
        assert (ran.code, ran.out) == (130, ""), question
        assert "nothing was stored" in ran.err
        assert len(script.asked) == number + 1
    assert broker.connectors == {}


def test_saying_no_stores_nothing(play: Any, broker: FakeBroker) -> None:
    """Protects the last word of the person."""
    ran, _ = play([*ANSWERS[:-1], ("Register it? [Y/n] ", "n")])
    assert (ran.code, broker.connectors) == (2, {})
    assert "not confirmed; nothing was stored" in ran.err


def test_the_command_that_it_shows_does_the_same(play: Any, valetkey: Runner, broker: FakeBroker) -> None:
    """Protects whoever goes on with a script: the command holds no secret, and registers the same."""
    _, script = play(ANSWERS)
    said = script.said[script.said.index("The same without questions:") + 1]
    assert SECRET not in said
    words = shlex.split(said)
    first = broker.requests[-1]
    again = [f"{SECRET}" if word == "@FILE" else word for word in words[1:]]
    assert valetkey(*again).code == 0
    assert broker.requests[-1] == first


def test_what_options_say_is_not_asked(play: Any, broker: FakeBroker) -> None:
    """Protects a mix of both: name, auth method, fields and the resource may stand on the line."""
    arguments = ("models", "-a", "service-principal", "--tenant-id=t-1", "--client-id=c-1", "-ri", "az://x")
    answers = [ANSWERS[3], ANSWERS[6], ANSWERS[7], ANSWERS[9]]
    ran, script = play(answers, *arguments, "--description=d")
    assert (ran.code, script.answers) == (0, []), ran.err
    assert broker.requests[-1].resource_id == "az://x"


def test_a_refusal_is_mended_on_the_spot(play: Any, broker: FakeBroker) -> None:
    """Protects what was typed already: only what was wrong is asked anew, and the error names the default."""
    broker.failures["CheckConnector"] = Failure(
        grpc.StatusCode.FAILED_PRECONDITION,
        "log in to Entra: AADSTS7000215 invalid client secret",
        errors_pb.ERROR_REASON_CLOUD_CREDENTIAL_REJECTED,
    )
    seen: list[str] = []

    class Healed(str):
        """The second secret, with which the broker is content."""

        __slots__ = ()

        def __str__(self) -> str:
            seen.append(broker.requests[-1].candidate.azure_secret.client_secret)
            broker.failures.clear()
            return "right"

    answers = [*ANSWERS[:8], ("Which [client-secret]: ", ""), ("(not shown): ", Healed()), *ANSWERS[8:]]
    ran, script = play(answers)
    assert (ran.code, seen) == (0, [SECRET]), ran.err
    assert any("AADSTS7000215" in text for text in script.said)
    assert broker.requests[-1].azure_secret.client_secret == "right"


def test_a_name_that_is_taken_or_none_is_asked_again(play: Any, broker: FakeBroker) -> None:
    """Protects against typing all of it for a name that cannot be had."""
    broker.connectors["taken"] = connector("taken")
    ran, script = play([("Name: ", ""), ("Name: ", "Models"), ("Name: ", "taken"), *ANSWERS])
    assert ran.code == 0, ran.err
    assert any("there is a connector taken already" in text for text in script.said)


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("", ""),
        ("models", "az://models"),
        ("az://models", "az://models"),
        ("1", "https://one.blob.core.windows.net/logs"),
        ("https://two.blob.core.windows.net/logs", "https://two.blob.core.windows.net/logs"),
    ],
)
def test_choosing_a_resource(typed: str, sent: str, play: Any, broker: FakeBroker) -> None:
    """Protects the choice: by number, name, id or URL; one of two containers of a name is meant by its URL."""
    broker.reached = [resource("logs", "one"), resource("logs", "two"), resource("models", "one")]
    wrong = [("Resource: ", "logs"), ("Resource: ", "nowhere"), ("Resource: ", "9")]
    ran, script = play([*ANSWERS[:8], *wrong, ("Resource: ", typed), ANSWERS[9]])
    assert (ran.code, broker.requests[-1].resource_id) == (0, sent), ran.err
    assert any("there are 2 of that name" in text for text in script.said)


def test_a_credential_of_the_environment_is_offered(
    play: Any, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects whoever is logged in already: it says where the credential is from, not what it is."""
    for name, value in (("TENANT_ID", "t-1"), ("CLIENT_ID", "c-1"), ("CLIENT_SECRET", SECRET)):
        monkeypatch.setenv(f"AZURE_{name}", value)
    ran, script = play([*ANSWERS[:2], ("Use it? [Y/n] ", ""), *ANSWERS[7:]])
    assert (ran.code, broker.requests[-1].azure_secret.client_secret) == (0, SECRET), ran.err
    offered = "service-principal (from AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET)"
    assert any(offered in text for text in script.said)
    assert not any(SECRET in text for text in script.said)


@pytest.mark.parametrize(
    ("answers", "account", "secret"),
    [
        (
            [("Auth method", "account-key"), ("Storage account, such as ", "contosoml"), ("(not shown): ", SECRET)],
            "contosoml",
            {"account_key": SECRET},
        ),
        ([("Auth method", "Connection_String"), ("(not shown): ", SECRET)], "", {"connection_string": SECRET}),
    ],
)
def test_a_key_is_of_one_account(
    answers: list[tuple[str, str]], account: str, secret: dict[str, str], play: Any, broker: FakeBroker
) -> None:
    """Protects the auth methods with keys: nothing is asked of where else to look."""
    ran, _ = play([*ANSWERS[:2], *answers, ("Choose another cloud? [y/N] ", "y"), ("Cloud", "dev"), *ANSWERS[8:]])
    assert ran.code == 0, ran.err
    sent = broker.requests[-1]
    assert (sent.azure.storage_account, sent.azure.cloud) == (account, "dev")
    assert {field.name: value for field, value in sent.azure_secret.ListFields()} == secret


def test_one_of_a_few_words_is_chosen(play: Any, broker: FakeBroker) -> None:
    """Protects what the broker says can be only one of a few: it is chosen by its number, and nothing else passes."""
    source = [("Implicit source: ", "magic"), ("Implicit source: ", ""), ("Implicit source: ", "2")]
    optional = [("Client id (Enter leaves it out): ", ""), ("Tenant id (Enter leaves it out): ", "")]
    ran, _ = play([*ANSWERS[:2], ("Auth method", "implicit"), *source, *optional, *ANSWERS[7:]])
    assert (ran.code, broker.requests[-1].azure.implicit_source) == (0, "workload-identity"), ran.err
    assert not broker.requests[-1].azure_secret.ListFields()


def test_a_file_that_is_not_there_is_asked_for_again(play: Any, broker: FakeBroker) -> None:
    """Protects against an error that ends the wizard: a certificate's path is typed, and mistyped."""

    def read(_field: str, given: str, _screen: Any) -> str:
        if given == "@/typo.pem":
            raise SettingsError("client certificate: there is no file /typo.pem")
        return f"read {given}"

    answers = [
        *ANSWERS[:3],
        ("Which of them", "client-certificate"),
        *ANSWERS[4:6],
        ("Path of its file: ", "/typo.pem"),
        ("Path of its file: ", "@/right.pem"),
        ("Is there a client certificate password? [y/N] ", ""),
        *ANSWERS[7:],
    ]
    ran, script = play(answers, read=read)
    assert (ran.code, broker.requests[-1].azure_secret.client_certificate) == (0, "read @/right.pem"), ran.err
    assert "client certificate: there is no file /typo.pem" in script.said


def test_no_terminal_no_wizard(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects scripts from waiting for answers that nobody gives."""
    ran = valetkey("service-connector", "register", "-i")
    assert (ran.code, broker.requests) == (2, [])
    assert "--interactive: there is no terminal to ask at" in ran.err
    assert "leave one out" in valetkey("service-connector", "register", "-i", "--no-verify").err
    assert "NAME is not given" in valetkey("service-connector", "register", "--connection-string=x").err
