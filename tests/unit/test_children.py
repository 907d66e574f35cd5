"""What tests start: it ends with them, however they end, and heeds Ctrl-C, whoever started the tests."""

import os
import subprocess
import sys
from pathlib import Path

from support import children
from support.e2e import soon
from support.processes import alive, descendants

TESTS = Path(__file__).parents[1]
SLEEP = "[sys.executable, '-c', 'import time; time.sleep(600)']"
LEAVERS = f"""
import subprocess, sys
from pathlib import Path
from support.children import start

def started(process):
    with Path("pids").open("a") as file:
        print(process.pid, file=file)

def test_that_passes():
    started(start({SLEEP}))

def test_that_fails():
    started(start({SLEEP}))
    assert not "as it must"

def test_that_has_its_child_leave_one():
    code = "import subprocess, sys; print(subprocess.Popen({SLEEP}, stdout=subprocess.DEVNULL).pid)"
    with Path("pids").open("a") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
"""


def environment() -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    return {**plain, "PYTHONPATH": str(TESTS)}


def test_nothing_outlives_its_test(tmp_path: Path) -> None:
    """A test that fails half-way leaves nothing behind, one that passes must not try, nor may a child of a child."""
    (tmp_path / "test_leavers.py").write_text(LEAVERS)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "support.children",
            "-p",
            "no:cacheprovider",
            "-c",
            os.devnull,
            tmp_path,
        ],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert "the test left running" in done.stdout
    assert "AssertionError: left running" in done.stdout
    assert "2 failed, 1 passed, 1 error" in done.stdout, done.stdout
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 3
    assert soon(lambda: not alive(pids), 30), alive(pids)


HANGING = """
import subprocess, sys

def in_the_program(child):
    child.wait()

in_the_program(subprocess.Popen([sys.executable, "-c", sys.argv[1]]))
"""
HANGING_CHILD = """
import time

def in_its_child():
    print("begun", flush=True)
    time.sleep(600)

in_its_child()
"""


def test_what_hangs_shows_where_it_stands_with_its_children(tmp_path: Path) -> None:
    """A test that gives up tells the step that hung, be it in a worker's worker, and leaves nothing behind."""
    said = tmp_path / "stderr"
    with (
        said.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", HANGING, HANGING_CHILD],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**environment(), "PYTHONFAULTHANDLER": "1"},
        ) as program,
    ):
        assert program.stdout is not None
        assert program.stdout.readline() == b"begun\n"
        below = descendants(program.pid)
        children.end_and_show(program)
    assert len(below) == 1
    assert not alive(below)
    shown = said.read_text()
    assert "in in_the_program" in shown, shown
    assert "in in_its_child" in shown, shown


def test_nothing_outlives_the_tests_that_were_killed() -> None:
    """`kill -9` of pytest, as of a CI job that is given up, takes what it has started with it."""
    code = (
        f"import sys, time; from support.children import start; print(start({SLEEP}).pid, flush=True); time.sleep(600)"
    )
    tests = children.start([sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, text=True)
    with tests:
        pid = int(tests.stdout.readline())
        assert alive([pid])
        tests.kill()
    assert soon(lambda: not alive([pid]), 30)


def test_ctrl_c_is_heeded_though_the_tests_ignore_it() -> None:
    """A script starts its background jobs with Ctrl-C ignored, which programs inherit: what tests start does not."""
    inner = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    code = (
        "import os, signal, subprocess, sys; from support.children import heed_signals; heed_signals(); "
        f"subprocess.run([sys.executable, '-c', {inner!r}], check=True); os.kill(os.getpid(), signal.SIGINT)"
    )
    script = 'trap "" INT; "$0" -c "$1"'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, code],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
