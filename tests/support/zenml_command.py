"""What a process of ZenML's environment becomes, for support.zenml: the command `zenml`, or a script. Runs there."""

import runpy
import sys
from pathlib import Path


def main() -> object:
    """Runs `zenml …` as installed, `python -m MODULE …` or `SCRIPT.py …`, whichever the command line is."""
    program = Path(sys.argv[0])
    if program.name == "zenml":
        from zenml_cli import cli

        return cli()
    if program.name == "python":
        del sys.argv[:2]
        return runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True) and 0
    sys.path.insert(0, str(program.parent))
    return runpy.run_path(str(program), run_name="__main__") and 0
