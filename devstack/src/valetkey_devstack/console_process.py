"""The console of a stack, as a child process that an operator would start the same way."""

import asyncio
import sys
from importlib.util import find_spec

import tomli_w

from valetkey_broker.errors import ConfigurationError
from valetkey_devstack.child_process import Child
from valetkey_devstack.directory_layout import write_private
from valetkey_devstack.free_ports import HOST
from valetkey_devstack.stack import DevStack

_ANSWER = b"ok"


def check_installed() -> None:
    """Raises ConfigurationError where the console is not there to be started."""
    if find_spec("valetkey_console") is None:
        raise ConfigurationError("--console: the console is not installed; pip install valetkey-console")


def console_address(stack: DevStack) -> str:
    """Returns the address to open in a browser."""
    return f"http://{HOST}:{stack.ports.console}/"


async def start_console(stack: DevStack) -> Child:
    """Starts `valetkey-console serve` before the stack's broker, and returns once it answers.

    People log in at the stack's stand-in for Entra, or by an API key. In the clear, for browsers trust no CA of a
    stack, and take loopback addresses for safe. Raises ConfigurationError, with the end of its log, where it does not
    come up.
    """
    check_installed()
    settings = {
        "endpoint": f"{HOST}:{stack.ports.broker}",
        "ca_file": str(stack.ca_file),
        "issuer_ca_file": str(stack.ca_file),
        "host": HOST,
        "port": stack.ports.console,
        "api_key_login": True,
    }
    file = stack.directory / "console.toml"
    write_private(file, tomli_w.dumps(settings))
    argv = [sys.executable, "-m", "valetkey_console", "serve", "--config", str(file)]
    log_file = stack.layout.logs / "console.log"

    async def ready() -> bool:
        reader, writer = await asyncio.open_connection(HOST, stack.ports.console)
        try:
            writer.write(f"GET /healthz HTTP/1.0\r\nHost: {HOST}:{stack.ports.console}\r\n\r\n".encode())
            return (await reader.read()).rstrip().endswith(_ANSWER)
        finally:
            writer.close()

    return await Child.start("the console", argv, log_file=log_file, ready=ready)
