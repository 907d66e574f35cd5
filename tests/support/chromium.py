"""The system's chromium, and playwright, which drives it, out of an environment of its own (Makefile)."""

import os
import sys
from pathlib import Path
from typing import Any

ENVIRONMENT = Path(__file__).parents[2] / ".venv-browser"
# No sandbox: tests may run as root, who has none. Nothing else leaves the machine or asks for what is not there.
LAUNCH: dict[str, Any] = {
    "executable_path": os.environ.get("CHROMIUM", "/usr/bin/chromium"),
    "args": [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ],
    # Milliseconds, on a machine with other work.
    "timeout": 120_000,
}


def lend_playwright() -> None:
    """Lets playwright be imported: after our own packages, so that what both environments have is ours."""
    sys.path.append(str(ENVIRONMENT / "lib"))
