"""The limit on open files: raised as far as it goes, and said where that is not far."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource, sys
soft, hard = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
import structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from valetkey_broker.limits.open_files import raise_open_files
print(json.dumps([raise_open_files(), *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


@pytest.mark.parametrize(("hard", "warned"), [(2048, True), (8192, False)])
def test_soft_limit_becomes_the_hard_one(hard: int, warned: bool) -> None:
    """A soft limit of 256 locks nobody out; a hard one that is low is said, with what to raise."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "256", str(hard)], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == [hard, hard, hard]
    assert ("LimitNOFILE" in done.stderr) is warned
