"""What a process of ZenML's environment becomes, for support.zenml: the command `zenml`, or a script. Runs there."""

import os
import runpy
import sys
from pathlib import Path

import zenml.logger
import zenml.zen_stores.schemas
from sqlalchemy.orm import configure_mappers
from zenml.integrations.registry import integration_registry

# What takes ZenML seconds, and every process of it would do: for its database, and to look for its integrations.
configure_mappers()
assert integration_registry.integrations


def main() -> object:
    """Runs `zenml …` as installed, `python -m MODULE …` or `SCRIPT.py …`, whichever the command line is."""
    program = Path(sys.argv[0])
    # What a step prints goes to ZenML's logs, too; the streams are others now than when ZenML was loaded.
    zenml.logger._stdout_wrapped = zenml.logger._stderr_wrapped = False
    zenml.logger.wrap_stdout_stderr()
    # Python has read it before this process was forked.
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if program.name == "zenml":
        from zenml_cli import cli

        return cli()
    if program.name == "python":
        del sys.argv[:2]
        return runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True) and 0
    sys.path.insert(0, str(program.parent))
    return runpy.run_path(str(program), run_name="__main__") and 0
