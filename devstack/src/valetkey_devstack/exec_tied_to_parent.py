"""Becomes another program that the kernel ends when its parent dies.

Usage: `exec_tied_to_parent.py PARENT_PID PROGRAM ARGUMENT…`. A program of its own, run by path and without site
packages (fast), because `preexec_fn` is not safe in a process that has threads. It imports nothing of the broker.
"""

import ctypes
import os
import signal
import sys

# Source: prctl(2), <linux/prctl.h>
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ties this process's life to its parent's, then replaces it by the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            sys.exit(f"cannot tie this process to its parent: {os.strerror(ctypes.get_errno())}")
    # A parent that died before the line above sends no signal any more.
    if os.getppid() != parent:
        sys.exit("the parent process is gone")
    try:
        os.execvp(program[0], program)  # noqa: S606 (no shell is what is wanted)
    except OSError as error:
        sys.exit(f"cannot run {program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
