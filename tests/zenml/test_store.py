"""The artifact store by itself: what people are told who get something wrong."""

import pytest

from support.pods import SCRIPTS
from support.zenml import ZenML
from support.zenml_stack import STORE, ZenMLStack

pytestmark = [pytest.mark.xdist_group("zenml"), pytest.mark.unmeasured, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def user(live: ZenMLStack) -> ZenML:
    return live.user(**live.way)


def test_every_file_operation(live: ZenMLStack, user: ZenML) -> None:
    """With odd names, out of bounds, and after a journey to another process: the script says what is expected."""
    live.grant("files", "--role", "step-operator-with-delete")
    ran = user.having(**live.identity("files")).run(SCRIPTS / "operations.py")
    assert ran.out.splitlines()[-1:] == ["all good"], ran


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
    away.done("artifact-store", "register", "far", "-f", "valetkey", f"--path={STORE}/far", "--patience_seconds=1")
    away.done("stack", "register", "far", "-a", "far", "-o", "pods", "--set")
    ran = away.run(SCRIPTS / "refusals.py", "first")
    user.done("stack", "set", "remote")
    assert ran.out.startswith("exists BrokerUnreachableError: cannot reach the broker at 127.0.0.1:1"), ran


def test_a_store_that_is_registered_twice(user: ZenML) -> None:
    """ZenML says so, and the first one stays."""
    ran = user("artifact-store", "register", "az_store", "-f", "valetkey", f"--path={STORE}/other")
    assert ran.code != 0
    assert "az_store" in ran.out + ran.err
    assert "existing component" in ran.out + ran.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--path=az://demo-models", "--authentication_secret=az_secret"), "zenml artifact-store connect"),
        (("--path=az://demo-models?sig=PLANTED",), "expected az://CONTAINER"),
        (("--path=az://demo-models/../x",), "expected az://CONTAINER"),
        (("--path=s3://demo-models",), "az://"),
    ],
)
def test_what_cannot_be_registered(user: ZenML, options: tuple[str, ...], told: str) -> None:
    """A secret is answered with the connector way, a path with what it should be."""
    ran = user("artifact-store", "register", "wrong", "-f", "valetkey", *options)
    assert ran.code != 0
    said = " ".join((ran.out + ran.err).split())
    assert told in said, ran


def test_another_container_than_the_connectors(live: ZenMLStack, user: ZenML) -> None:
    """A connector for one container takes no store in another one."""
    live.grant("owner", "--role", "deployer", ttl="1h")
    owner = user.having(**live.identity("owner"))
    owner.done(
        *("service-connector", "register", "models", "--type", "valetkey", "--auth-method", "identity"),
        f"--endpoint={live.way['VALETKEY_ENDPOINT']}",
        *("--resource-type", "blob-container", "--resource-id", STORE.rpartition("/")[0]),
    )
    owner.done("artifact-store", "register", "other", "-f", "valetkey", "--path=az://demo-models/zen")
    ran = owner("artifact-store", "connect", "other", "--connector", "models")
    assert ran.code != 0
    assert "demo-models" in ran.out + ran.err
