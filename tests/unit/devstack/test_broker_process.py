"""When the stack's broker counts as ready."""

import logging
from pathlib import Path

import pytest
import structlog

from valetkey_broker.observability.logging import configure_logging
from valetkey_devstack.broker_process import _times_serving


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_every_worker_that_serves_is_counted(tmp_path: Path, log_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever format somebody has it logged: a worker that says otherwise is not taken for one that serves."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])  # Put back afterwards: other tests share it.
    monkeypatch.setattr(root, "level", root.level)
    log_file = tmp_path / "log"
    with log_file.open("w") as out:
        configure_logging(log_format, "info", out)
        log = structlog.get_logger()
        for event in ("listening", "serving", "not serving: memory is too old", "serving"):
            log.info(event)
        structlog.reset_defaults()
    assert _times_serving(log_file) == 2
