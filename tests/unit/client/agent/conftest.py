"""A broker for the agent."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from valetkey.testing import FakeBroker


@pytest.fixture
def fake() -> Iterator[FakeBroker]:
    with FakeBroker(ttl=timedelta(minutes=15)) as running:
        yield running
