"""Types lines of `zenml`, and says how each ended. One process for all: a start of ZenML takes seconds of a processor.

lines.py '[["artifact-store", "list"], …]' ANSWERS-FILE
"""

import json
import sys
from pathlib import Path

from click.testing import CliRunner
from zenml_cli import cli


def typed(line: list[str]) -> tuple[int, str]:
    """Returns the exit code, and all that was said."""
    ran = CliRunner().invoke(cli, line)
    return ran.exit_code, f"{ran.output}{ran.exception or ''}"


answers = [typed(line) for line in json.loads(sys.argv[1])]
Path(sys.argv[2]).write_text(json.dumps(answers))
