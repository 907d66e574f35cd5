"""Fixtures that every test may ask for."""

import logging

import hypothesis
import pytest

from support.children import _nothing_is_left_running, pytest_runtest_call
from support.stack import dev_stack

__all__ = ["_nothing_is_left_running", "dev_stack", "pytest_runtest_call"]

# Deadlines for each example, and for making them, hold on an idle machine only.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-machine")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Makes the groups of tests count: xdist (3.8) writes them where pytest (9.2) no longer looks."""
    for item in items:
        if (noted := vars(item).get("_nodeid")) is not None:
            item._id = item._id.parse(noted)


@pytest.fixture(autouse=True)
def _unmuted_libraries() -> None:
    """Undoes what an AzureCloud of an earlier test did to the loggers: no test may depend on those before it."""
    for name in ("azure", "msal"):
        logging.getLogger(name).setLevel(logging.NOTSET)
