"""Whole stacks for the tests that drive `valetkey`: one of each kind for each test process."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from support.cli_runner import Ran
from support.e2e import CONNECTOR, DEMO, Live, live_stack

if TYPE_CHECKING:
    from support.identity_stack import IdentityStack


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Everything running, and an administrator's key; without a connector at first."""
    with live_stack(tmp_path_factory.mktemp("live"), connector=False) as running:
        yield running


@pytest.fixture(scope="session")
def registered(live: Live) -> Ran:
    """What the issue's own command said when it registered `azure-blob-demo`; its container is granted to the admin."""
    ran = live.admin.installed.done(
        *("service-connector", "register", CONNECTOR, "--type", "azure", "--auth-method", "service-principal"),
        *(*live.principal(), "--client-secret", f"@{live.secret_files.client_secret}"),
        *("--resource-type", "blob-container", "--resource-id", DEMO),
    )
    live.allow(CONNECTOR)
    return ran


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator["IdentityStack"]:
    """`valetkey-broker dev` with an issuer, client certificates, roles and a ledger on PostgreSQL."""
    from support.identity_stack import identity_stack

    with identity_stack(tmp_path_factory.mktemp("identities")) as running:
        yield running
