"""The stack's own broker, as a child process that an operator would start the same way."""

import os
import re
import sys
from pathlib import Path

from valetkey_devstack.child_process import Child, tls_ready
from valetkey_devstack.stack import DevStack

_SERVING = re.compile(r'"event": "serving"|\] serving *$', re.MULTILINE)


async def start_broker(stack: DevStack, *, workers: int = 1) -> Child:
    """Starts `valetkey-broker serve` on the settings of `stack` and returns once every worker serves.

    It finds a managed identity where App Service's programs find theirs, and so never that of this machine.

    Raises ConfigurationError, with the end of its log, where it does not come up.
    """
    log_file = stack.layout.logs / "broker.log"
    log_file.unlink(missing_ok=True)
    listening = tls_ready(stack.ports.broker, stack.ca_file)

    async def ready() -> bool:
        # Each worker says so once it has read Vault; before that it answers NOT_SERVING.
        return _times_serving(log_file) >= workers and await listening()

    argv = [
        sys.executable,
        "-m",
        "valetkey_broker",
        "serve",
        "--config",
        str(stack.settings_file),
        "--workers",
        str(workers),
    ]
    env = {**os.environ, **stack.control_plane.managed_identities.environment}
    return await Child.start("the broker", argv, log_file=log_file, ready=ready, env=env)


def _times_serving(log_file: Path) -> int:
    """Returns how many workers have said so, in either format of the log."""
    return len(_SERVING.findall(log_file.read_text(encoding="utf-8", errors="replace")))
