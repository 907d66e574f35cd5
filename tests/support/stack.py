"""A running dev stack for tests: one for each test process, on a thread and an event loop of its own.

tests/conftest.py makes the fixture `dev_stack` known everywhere; tests that break parts mend them again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.shielded_work import Background, in_background

if TYPE_CHECKING:
    from valetkey_devstack.stack import DevStack


@dataclass(frozen=True)
class RunningStack(Background["DevStack"]):
    """A started stack and the loop it lives on."""

    @property
    def stack(self) -> "DevStack":
        return self.value


@contextmanager
def running_stack(directory: Path, **options: Any) -> Iterator[RunningStack]:
    """Starts a stack in `directory` and ends it afterwards; `options` are those of DevStack."""
    # Late: unit tests do not need it, and it takes half a second to load.
    from valetkey_devstack.stack import DevStack

    with in_background(DevStack(directory, **options), "dev-stack") as running:
        yield RunningStack(running.value, running.loop)


@pytest.fixture(scope="session")
def dev_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Everything the broker talks to, running."""
    with running_stack(tmp_path_factory.mktemp("dev-stack")) as running:
        yield running
