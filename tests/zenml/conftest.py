"""One stack for all tests with ZenML: they are in one group, and so in one process."""

from collections.abc import Iterator

import pytest

from support.zenml_stack import ZenMLStack, zenml_stack


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZenMLStack]:
    """Everything running: the demo connector, and an issuer of pods' tokens."""
    with zenml_stack(tmp_path_factory.mktemp("zenml")) as running:
        yield running
