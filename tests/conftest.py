"""Fixtures that every test may ask for."""

import logging

import pytest

from support.stack import dev_stack

__all__ = ["dev_stack"]


@pytest.fixture(autouse=True)
def _unmuted_libraries() -> None:
    """Undoes what an AzureCloud of an earlier test did to the loggers: no test may depend on those before it."""
    for name in ("azure", "msal"):
        logging.getLogger(name).setLevel(logging.NOTSET)
