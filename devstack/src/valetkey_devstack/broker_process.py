"""The stack's own broker, as a child process that an operator would start the same way."""

import os
import re
import sys
import tomllib
from pathlib import Path

import tomli_w

from valetkey_devstack.child_process import Child, tls_ready
from valetkey_devstack.directory_layout import write_private
from valetkey_devstack.stack import DevStack

_SERVING = re.compile(r'"event": "serving"|\] serving *$', re.MULTILINE)


async def start_broker(stack: DevStack, *, workers: int = 1, port: int = 0) -> Child:
    """Starts `valetkey-broker serve` on the settings of `stack` and returns once every worker serves.

    With `port` it is another replica beside the stack's own, on that port.

    It finds a managed identity where App Service's programs find theirs, and so never that of this machine.

    Raises ConfigurationError, with the end of its log, where it does not come up.
    """
    log_file = stack.layout.logs / (f"broker-{port}.log" if port else "broker.log")
    log_file.unlink(missing_ok=True)
    listening = tls_ready(port or stack.ports.broker, stack.ca_file)
    settings_file = _beside(stack, port) if port else stack.settings_file

    async def ready() -> bool:
        # Each worker says so once it has read Vault; before that it answers NOT_SERVING.
        return _times_serving(log_file) >= workers and await listening()

    argv = [
        sys.executable,
        "-m",
        "valetkey_broker",
        "serve",
        "--config",
        str(settings_file),
        "--workers",
        str(workers),
    ]
    env = {**os.environ, **stack.control_plane.managed_identities.environment}
    return await Child.start("the broker", argv, log_file=log_file, ready=ready, env=env)


def _beside(stack: DevStack, port: int) -> Path:
    """Returns the settings of another replica on `port`."""
    settings = tomllib.loads(stack.settings_file.read_text(encoding="utf-8"))
    settings["server"]["port"] = port
    settings.pop("metrics", None)  # Their port is the first one's.
    file = stack.settings_file.with_name(f"broker-{port}.toml")
    write_private(file, tomli_w.dumps(settings))
    return file


def _times_serving(log_file: Path) -> int:
    """Returns how many workers have said so, in either format of the log."""
    return len(_SERVING.findall(log_file.read_text(encoding="utf-8", errors="replace")))
