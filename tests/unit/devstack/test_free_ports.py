"""Free ports: what is given out is not given again, not even to another process."""

import subprocess
import sys

from valetkey_devstack import free_ports

_TAKE_ALL = """
import sys
from valetkey_devstack import free_ports
free_ports._FIRST, free_ports._LAST = int(sys.argv[1]), int(sys.argv[1]) + 199
taken = set()
try:
    while True:
        taken.add(free_ports.free_port())
except (OSError, ValueError):
    print(*taken)
"""


def test_other_process_gets_other_ports() -> None:
    """Two stacks that start at the same moment never choose the same port, though neither has bound it yet."""
    mine = free_ports.free_port()
    first = min(mine, 29_800)
    done = subprocess.run(
        [sys.executable, "-c", _TAKE_ALL, str(first)], capture_output=True, text=True, check=True, timeout=60
    )
    theirs = {int(port) for port in done.stdout.split()}
    assert len(theirs) > 100
    assert mine not in theirs
