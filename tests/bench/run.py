"""Runs the bench from anywhere: `python tests/bench/run.py`, the same as `python -m bench` with tests/ on the path."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])
    runpy.run_module("bench", run_name="__main__", alter_sys=True)
