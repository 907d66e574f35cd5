"""Fixtures that every test may ask for."""

import logging
import os
from collections.abc import Iterator

import hypothesis
import pytest

from support import children
from support.children import _nothing_is_left_running, pytest_runtest_call
from support.stack import dev_stack
from valetkey_broker.concurrency.garbage_collection import loading_modules

__all__ = ["_nothing_is_left_running", "dev_stack", "pytest_runtest_call"]

# Deadlines for each example, and for making them, hold on an idle machine only. The examples are the same each time:
# what fails does so where it was written, and not by chance on CI. `make test EXPLORE=1` makes new ones.
hypothesis.settings.register_profile(
    "any-machine",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=not os.environ.get("EXPLORE"),
)
hypothesis.settings.load_profile("any-machine")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Keeps the garbage collector from going through all that is loaded, again and again as it grows, and in each test.

    What is there by then, modules and items, stays: it is left out of later collections.
    """
    with loading_modules():
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Makes the groups of tests count: xdist (3.8) writes them where pytest (9.2) no longer looks."""
    for item in items:
        if (noted := vars(item).get("_nodeid")) is not None:
            item._id = item._id.parse(noted)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """Measures no coverage of an `unmeasured` test, of its fixtures, nor of the programs that they start."""
    plugin = item.config.pluginmanager.get_plugin("_cov")
    controller = plugin.cov_controller if plugin is not None else None
    if controller is None or item.get_closest_marker("unmeasured") is None:
        return (yield)
    asked = {name: value for name, value in os.environ.items() if name not in children.unmeasured(os.environ)}
    controller.pause()
    for name in asked:
        del os.environ[name]
    try:
        return (yield)
    finally:
        os.environ.update(asked)
        controller.resume()


@pytest.fixture(autouse=True)
def _unmuted_libraries() -> None:
    """Undoes what an AzureCloud of an earlier test did to the loggers: no test may depend on those before it."""
    for name in ("azure", "msal"):
        logging.getLogger(name).setLevel(logging.NOTSET)
