"""What a token costs who asks for it by `valetkey token issue`: a whole process, against one that imports grpc."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.load import BenchError
from bench.results import Result, at_most
from support.fake_broker import API_KEY, running_fake_broker

_ISSUE = (
    str(Path(sys.executable).with_name("valetkey")),
    *("token", "issue", "--resource", "models", "--permissions", "read", "-o", "sas"),
)
_IMPORT = (sys.executable, "-c", "import grpc")
_RUNS_A_ROUND = 4


async def issuing_by_command(arguments: argparse.Namespace) -> Sequence[Result]:
    """Starts both in turn; the broker is the tests' own, in this process."""
    with tempfile.TemporaryDirectory() as directory, running_fake_broker(Path(directory)) as broker:
        environment = {
            **os.environ,
            "VALETKEY_ENDPOINT": broker.endpoint,
            "VALETKEY_CA_FILE": str(broker.ca_file),
            "VALETKEY_API_KEY": API_KEY,
        }
        for command in (_IMPORT, _ISSUE):  # Its bytecode is compiled by now.
            _seconds(command, environment)
        rounds = []
        for _ in range(_RUNS_A_ROUND * arguments.rounds):
            imported, issued = _seconds(_IMPORT, environment), _seconds(_ISSUE, environment)
            sys.stdout.write(f"import grpc {imported * 1e3:.0f} ms, token issue {issued * 1e3:.0f} ms\n")
            rounds.append(issued / imported)
    return [Result("token issue -o sas, a process, ÷ import grpc", rounds, at_most(1.5))]


def _seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Returns the processor time of a whole process, its end included."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"{' '.join(command)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime
