"""`valetkey-broker dev`: a whole stack on this machine until Ctrl-C."""

import asyncio
import contextlib
import os
import shlex
import signal
import time

import typer

from valetkey_broker.errors import ConfigurationError
from valetkey_devstack.azurite_install import ensure_installed
from valetkey_devstack.broker_process import start_broker
from valetkey_devstack.console_process import check_installed, console_address, start_console
from valetkey_devstack.demo_data import (
    DEMO_ACCOUNT,
    DEMO_CONNECTOR,
    DEMO_RESOURCE,
    SecretFiles,
    add_demo_data,
    add_second_secret,
)
from valetkey_devstack.demo_people import in_words
from valetkey_devstack.directory_layout import write_private
from valetkey_devstack.stack import DevStack
from valetkey_devstack.storage_trust import storage_exports, write_bundle
from valetkey_devstack.user_settings_file import check_environment

_WATCH_SECONDS = 0.5


def prepare_stack() -> None:
    """Installs what a stack needs beyond its Python packages. Raises ConfigurationError."""
    ensure_installed(_say)


async def run_dev(stack: DevStack, *, workers: int, with_console: bool = False) -> int:
    """Runs `stack` with a broker and demo data until SIGINT or SIGTERM; returns the exit code.

    With `with_console` the console runs, too. Raises ConfigurationError where it does not come up. Ends with 1 when
    the broker or the console ends by itself.
    """
    check_environment(os.environ)
    if with_console:
        check_installed()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    began = time.monotonic()
    _say(f"Starting OpenBao, Azurite and a stand-in for Entra, Graph and ARM in {_short(stack.directory)} …")
    running = asyncio.create_task(_run(stack, workers, began, stopping, with_console=with_console))
    stop_asked = asyncio.create_task(stopping.wait())
    # Ctrl-C while it starts must end what has started, too.
    await asyncio.wait({running, stop_asked}, return_when=asyncio.FIRST_COMPLETED)
    stop_asked.cancel()
    if not running.done():
        _say("\nStopping …")
        running.cancel()
    try:
        return await running
    except asyncio.CancelledError:
        return 0
    except ConfigurationError:
        # A terminal's Ctrl-C reaches a part in its first moment, too, and that part then fails to come up.
        if not stopping.is_set():
            raise
        return 0


async def _run(stack: DevStack, workers: int, began: float, stopping: asyncio.Event, *, with_console: bool) -> int:
    async with contextlib.AsyncExitStack() as closing:
        await closing.enter_async_context(stack)
        secret_files = await add_demo_data(stack)
        add_second_secret(stack, secret_files)
        broker = await start_broker(stack, workers=workers)
        closing.push_async_callback(broker.stop, grace=15)
        children = [broker]
        if with_console:
            console = await start_console(stack)
            closing.push_async_callback(console.stop)
            children.append(console)
        exports = _exports(stack, secret_files)
        write_private(stack.directory / "env.sh", exports)
        _welcome(stack, secret_files, exports, time.monotonic() - began, with_console=with_console)
        while not stopping.is_set():
            await asyncio.sleep(_WATCH_SECONDS)
            for child in children:
                if child.poll() is not None:
                    _say(f"T{child.name[1:]} ended by itself; its last words:\n{child.last_lines()}")
                    return 1
    return 0


def _exports(stack: DevStack, secret_files: SecretFiles) -> str:
    return "\n".join(
        (
            f"export VALETKEY_ENDPOINT=127.0.0.1:{stack.ports.broker}",
            f"export VALETKEY_CA_FILE={shlex.quote(str(stack.ca_file))}",
            f"export VALETKEY_ISSUER_CA_FILE={shlex.quote(str(stack.ca_file))}",
            f'export VALETKEY_API_KEY="$(cat {shlex.quote(str(secret_files.admin_key))})"',
            *storage_exports(stack.ca_file, write_bundle(stack.ca_file)),
            "",
        )
    )


def _welcome(stack: DevStack, secret_files: SecretFiles, exports: str, seconds: float, *, with_console: bool) -> None:
    extra = stack.extra_settings
    added = f"Added by {_short(extra.file)}: {extra.summary()}.\n" if extra is not None else ""
    console = _console(stack, secret_files) if with_console else ""
    second = f"@{_short(secret_files.second_client_secret)}"
    indented = "".join(f"  {line}\n" for line in exports.splitlines())
    typer.echo(
        f"Ready in {seconds:.1f} s. In another terminal, as admin (or: source {_short(stack.directory)}/env.sh):\n\n"
        f"{indented}\n"
        "(The last four have tools trust this stack's storage. The bundle holds this machine's CAs as well, so that\n"
        "other HTTPS works on; what you had set by these names yourself is replaced in that shell.)\n\n"
        f"The connector {DEMO_CONNECTOR} serves {DEMO_RESOURCE}. Try:\n\n"
        "  valetkey service-connector list-resources --resource-type blob-container\n"
        f"  valetkey token issue --resource {DEMO_RESOURCE} --permissions read,list --ttl 15m\n\n"
        "To rotate its credential to another secret of the same application, and back:\n\n"
        f"  valetkey service-connector rotate {DEMO_CONNECTOR} --client-secret {second}\n"
        f"  valetkey service-connector rollback {DEMO_CONNECTOR}\n\n"
        "To register connectors of your own, this service principal (it exists in this stack only):\n\n"
        f"  --tenant-id {stack.tenant_id} --client-id {stack.client_id} "
        f"--client-secret @{_short(secret_files.client_secret)}\n"
        f"  (or --client-certificate @{_short(secret_files.client_certificate)})\n\n"
        "or, as the broker has a managed identity here: --auth-method implicit --implicit-source managed-identity\n\n"
        f"or the key of the storage account {DEMO_ACCOUNT}, as it is or in a connection string:\n\n"
        f"  --storage-account {DEMO_ACCOUNT} --account-key @{_short(secret_files.account_key)}\n"
        f"  --connection-string @{_short(secret_files.connection_string)}\n\n"
        "Or, as a person, log in at the stand-in for Entra (--device: by a code), without the admin's key:\n\n"
        "  unset VALETKEY_API_KEY; valetkey login && valetkey whoami\n\n"
        f"There are {in_words()}. Ada and Sam get tokens.\n\n"
        f"A consumer's key (key:demo-consumer, with a grant on it) is in {_short(secret_files.consumer_key)}.\n"
        f"{console}"
        f"{added}"
        f"Metrics: http://127.0.0.1:{stack.ports.metrics}/metrics (docs/metrics.md). "
        f"Logs: {_short(stack.layout.logs)}. Ctrl-C ends everything."
    )


def _console(stack: DevStack, secret_files: SecretFiles) -> str:
    return (
        f"The console is at {console_address(stack)} (log in there as one of these people, or by the admin's key):\n\n"
        f"  cat {_short(secret_files.admin_key)}\n\n"
        "Where people log in, the browser warns of the stand-in's certificate, whose CA is this stack's,\n"
        f"{_short(stack.ca_file)}: accept it, or log in by the key.\n\n"
    )


def _short(path: os.PathLike[str]) -> str:
    """Returns a path relative to here where that is shorter to read."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _say(line: str) -> None:
    typer.echo(line, err=True)
