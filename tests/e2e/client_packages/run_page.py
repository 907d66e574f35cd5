"""Runs the snippets of a page one after the other, as they stand there: `python -I run_page.py PAGE`."""

import os
import re
import sys
from pathlib import Path
from typing import Any

names: dict[str, Any] = {}
for snippet in re.findall(r"^```python\n(.*?)^```", Path(sys.argv[1]).read_text(), re.MULTILINE | re.DOTALL):
    exec(snippet, names)  # noqa: S102 (ours)
sys.stdout.flush()

# Now and then a thread of some package ends the process by a signal as the interpreter ends, which is not looked at.
os._exit(0)
