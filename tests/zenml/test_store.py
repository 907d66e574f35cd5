"""The artifact store by itself: its file operations, and what people are told who get something wrong."""

import time

import pytest

from support.pods import SCRIPTS
from support.zenml import Answers, ZenML
from support.zenml_stack import STORE, ZenMLStack

pytestmark = [pytest.mark.xdist_group("zenml"), pytest.mark.unmeasured, pytest.mark.timeout(1200)]
FILES = 40


@pytest.fixture(scope="module")
def user(live: ZenMLStack) -> ZenML:
    return live.user(**live.way)


def test_every_file_operation(live: ZenMLStack, user: ZenML) -> None:
    """With odd names, out of bounds, and after a journey to another process: the script says what is expected."""
    live.grant("files", "--role", "step-operator-with-delete")
    ran = user.having(**live.identity("files")).run(SCRIPTS / "operations.py")
    assert ran.out.splitlines()[-1:] == ["all good"], ran


def test_many_files_take_few_tokens(live: ZenMLStack, user: ZenML) -> None:
    """As many as their lives of 20 s ask for, one row for writing and one for reading; not one for each file."""
    live.grant("many", "--role", "step-operator", ttl="20s")
    began = time.monotonic()
    ran = user.having(**live.identity("many")).run(SCRIPTS / "many.py", str(FILES))
    took = time.monotonic() - began
    assert ran.out.strip() == f"{FILES} files in {FILES} folders", ran
    # Twice as many as there can be, should each be renewed when half of its life is over.
    most = 2 * (2 + took / 5)
    assert len(live.recording.tokens(began)) <= most
    assert len(live.leases("many")) <= most
    assert len(live.recording.data(began)) > 2 * FILES


def test_who_may_not_delete_is_told_so(live: ZenMLStack, user: ZenML) -> None:
    """Where no step is failing, a refused removal is an error: whoever prunes has to know."""
    live.grant("looker", "--role", "deployer", ttl="1h")
    lines = user.having(**live.identity("looker")).run(SCRIPTS / "refusals.py").out.splitlines()
    said = {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}
    assert said["exists"] == "False"
    for operation in ("remove", "rmtree"):
        assert said[operation].startswith("PermissionDeniedError: "), said
        assert "delete" in said[operation]
        assert live.principal("looker") in said[operation]


def test_who_has_no_grant_is_told_so(live: ZenMLStack, user: ZenML) -> None:
    """It is not told that there is nothing."""
    said = user.having(**live.identity("stranger")).run(SCRIPTS / "refusals.py", "first").out
    assert said.startswith("exists PermissionDeniedError: "), said
    assert live.principal("stranger") in said


def test_a_broker_that_is_away(live: ZenMLStack, user: ZenML) -> None:
    """Registering asks nobody; a step waits a while, and then is told which broker it was and what to look at."""
    away = user.having(VALETKEY_ENDPOINT="127.0.0.1:1", **live.identity("stranger"))
    store = ("artifact-store", "register", "far", "-f", "valetkey", f"--path={STORE}/far", "--patience_seconds=1")
    ran = away.run(SCRIPTS / "away.py", *store)
    registered, said = (ran.out + ran.err).splitlines()[:2]
    assert registered == "registered 0", ran
    assert said.startswith("exists BrokerUnreachableError: cannot reach the broker at 127.0.0.1:1"), ran


@pytest.fixture(scope="module")
def typed(live: ZenMLStack, user: ZenML, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Types what cannot be, and what has to be there for it."""
    live.grant("owner", "--role", "deployer", ttl="1h")
    register = ("artifact-store", "register")
    wrong = (*register, "wrong", "-f", "valetkey")
    lines: dict[str, tuple[str, ...]] = {
        "twice": (*register, "az_store", "-f", "valetkey", f"--path={STORE}/other"),
        "secret": (
            *register,
            "wrong",
            "-f",
            "valetkey",
            "--path=az://demo-models",
            "--authentication_secret=az_secret",
        ),
        "signature": (*wrong, "--path=az://demo-models?sig=PLANTED"),
        "upwards": (*wrong, "--path=az://demo-models/../x"),
        "scheme": (*wrong, "--path=s3://demo-models"),
        "connector": (
            *("service-connector", "register", "models", "--type", "valetkey", "--auth-method", "identity"),
            f"--endpoint={live.way['VALETKEY_ENDPOINT']}",
            *("--resource-type", "blob-container", "--resource-id", STORE.rpartition("/")[0]),
        ),
        "store": (*register, "other", "-f", "valetkey", "--path=az://demo-models/zen"),
        "connect": ("artifact-store", "connect", "other", "--connector", "models"),
    }
    answers = tmp_path_factory.mktemp("typed") / "answers.json"
    return user.having(**live.identity("owner")).typed(lines, answers)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        # The first one stays.
        ("twice", "existing component"),
        ("twice", "az_store"),
        # A secret is answered with the connector way, a path with what it should be.
        ("secret", "zenml artifact-store connect"),
        ("signature", "expected az://CONTAINER"),
        ("upwards", "expected az://CONTAINER"),
        ("scheme", "az://"),
        # A connector for one container takes no store in another one.
        ("connect", "demo-models"),
    ],
)
def test_what_cannot_be(typed: Answers, what: str, told: str) -> None:
    """ZenML refuses it, in words that help."""
    assert typed.codes[what] != 0, typed
    assert told in typed.said[what], typed


def test_what_has_to_be_there_for_it(typed: Answers) -> None:
    """The connector and the store exist that do not go together."""
    assert (typed.codes["connector"], typed.codes["store"]) == (0, 0), typed
