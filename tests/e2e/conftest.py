"""A whole stack for the tests that drive `valetkey`: one for each test process, without a connector at first."""

from collections.abc import Iterator

import pytest

from support.cli_runner import Ran
from support.e2e import CONNECTOR, DEMO, Live, live_stack


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Everything running, and an administrator's key."""
    with live_stack(tmp_path_factory.mktemp("live"), connector=False) as running:
        yield running


@pytest.fixture(scope="session")
def registered(live: Live) -> Ran:
    """What the issue's own command said when it registered `azure-blob-demo`; its container is granted to the admin."""
    ran = live.admin.done(
        *("service-connector", "register", CONNECTOR, "--type", "azure", "--auth-method", "service-principal"),
        *(*live.principal(), "--client-secret", f"@{live.seeds.client_secret}"),
        *("--resource-type", "blob-container", "--resource-id", DEMO),
    )
    live.allow(CONNECTOR)
    return ran
