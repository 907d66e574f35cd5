"""The installed commands as a user runs them: `valetkey` against a whole stack, and the stack's processes."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.children import start, unmeasured
from support.cli_runner import Ran
from support.stack import RunningStack, running_stack
from support.warm import WarmCommand, run_installed

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

    from valetkey_broker.model import Secret
    from valetkey_devstack.child_process import Child
    from valetkey_devstack.demo_data import SecretFiles
    from valetkey_devstack.stack import DevStack

BIN = Path(sys.executable).parent
VALETKEY, BROKER = BIN / "valetkey", BIN / "valetkey-broker"
DEMO = "az://demo-zenmlartifactstore"
CONNECTOR = "azure-blob-demo"
WARM_VALETKEY = WarmCommand("valetkey.cli:main", "valetkey.*", GRPC_VERBOSITY="NONE")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Cli:
    """The command `valetkey` with the environment a user has exported; `installed` is the one that pip has made."""

    environment: Mapping[str, str]
    is_installed: bool = False

    @property
    def installed(self) -> "Cli":
        """The same, as it starts for a user: half a second each time, most of it imports."""
        return replace(self, is_installed=True)

    def __call__(self, *arguments: str | Path, stdin: str = "", **more: str) -> Ran:
        """Runs one command line; `more` are further variables of its environment."""
        environment = unmeasured(user_environment({**self.environment, **more}))
        ran = (run_installed if self.is_installed else WARM_VALETKEY.run)(
            [VALETKEY, *arguments], environment=environment, stdin=stdin
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def done(self, *arguments: str | Path, stdin: str = "", **more: str) -> Ran:
        """Runs one that has to succeed."""
        ran = self(*arguments, stdin=stdin, **more)
        assert ran.code == 0, f"valetkey {' '.join(map(str, arguments))}: {ran}"
        return ran

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts one and does not wait for it."""
        return start(
            [VALETKEY, *arguments],
            env=unmeasured(user_environment(self.environment)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def names(self) -> list[str]:
        """Returns the names of the connectors there are."""
        return [connector["name"] for connector in self.done("service-connector", "list", "-o", "json").json]


@dataclass(frozen=True)
class Live:
    """A whole stack with its broker; `admin` is the command line in its administrator's hands."""

    running: RunningStack
    secret_files: "SecretFiles"
    broker: "Child"
    admin: Cli

    @property
    def stack(self) -> "DevStack":
        return self.running.stack

    def cli(self, **variables: str) -> Cli:
        """Returns the command line with other settings than the administrator's; "" leaves one out."""
        merged = {**self.admin.environment, **variables}
        return Cli({name: value for name, value in merged.items() if value})

    def principal(self) -> tuple[str, ...]:
        """Returns the options that name the stack's service principal."""
        return ("--tenant-id", self.stack.tenant_id, "--client-id", self.stack.client_id)

    def register(self, name: str, *more: str, secret: str = "") -> Ran:
        """Registers a connector that serves all it reaches with the stack's principal, unless `more` says otherwise."""
        given = secret or self.stack.client_secret.reveal()
        words = self.principal()
        named = [word for pair in zip(words[::2], words[1::2], strict=True) if pair[0] not in more for word in pair]
        return self.admin(
            *("service-connector", "register", name, *named, *more),
            VALETKEY_CLIENT_SECRET=given,
        )

    def new_connector(self, *more: str, secret: str = "") -> str:
        """Registers a connector of a new name, grants its demo containers to the administrator; returns the name."""
        name = unique("connector")
        ran = self.register(name, *more, secret=secret)
        assert ran.code == 0, ran
        self.allow(name)
        return name

    def allow(self, connector: str, principal: str = "key:admin") -> str:
        """Grants the demo containers of a connector, to the administrator if nobody is named; returns the grant."""
        name = unique("grant")
        self.admin.done(
            *("grant", "create", name, "--principal", principal, "--connector", connector),
            *("--container", "demo-*", "--container", "twin", "--permissions", "read,list,write,create,add,delete"),
        )
        return name

    def delete(self, name: str) -> None:
        self.admin.done("service-connector", "delete", name, "--yes")

    def issue(self, *more: str, resource: str = DEMO, permissions: str = "read,list") -> Ran:
        """Issues a token as the administrator."""
        return self.admin("token", "issue", "--resource", resource, "--permissions", permissions, *more)

    def container(self, sas_url: str) -> "ContainerClient":
        return container(sas_url, self.stack.ca_file)

    def add_secret(self) -> "Secret":
        """Gives the service principal one more client secret."""
        from valetkey_broker.model import Secret

        secret = Secret(unique("another~client.secret"))
        self.stack.control_plane.add_secret(secret)
        return secret


@contextmanager
def live_stack(
    directory: Path, *, connector: bool, workers: int = 1, first: Callable[[RunningStack], object] = bool
) -> Iterator[Live]:
    """Runs a whole stack in `directory`; with `connector`, the demo connector is registered.

    `first` is called with what the broker talks to, before there is a broker.
    """
    # Late: unit tests do not need these, and they take a while to load.
    from valetkey_devstack.broker_process import start_broker
    from valetkey_devstack.demo_data import add_demo_data

    with running_stack(directory) as running:
        stack = running.stack
        first(running)
        secret_files = running.call(add_demo_data(stack, connector=connector))
        broker = running.call(start_broker(stack, workers=workers))
        admin = Cli(
            {
                "VALETKEY_ENDPOINT": f"127.0.0.1:{stack.ports.broker}",
                "VALETKEY_CA_FILE": str(stack.ca_file),
                "VALETKEY_API_KEY_FILE": str(secret_files.admin_key),
                "HOME": str(directory),
            }
        )
        try:
            yield Live(running, secret_files, broker, admin)
        finally:
            running.call(broker.stop(grace=15))


def user_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns this environment without anything of Valet Key's or a proxy's, plus `variables`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("VALETKEY")
        and not name.lower().endswith("_proxy")
        and name not in ("COLUMNS", "XDG_CONFIG_HOME")
    }
    return {**kept, **(variables or {})}


def unique(prefix: str) -> str:
    """Returns a name that no other test of this process has."""
    return f"{prefix}-{next(_numbers)}"


def container(sas_url: str, ca_file: Path) -> "ContainerClient":
    """Returns a container as azure-storage-blob sees it with a SAS, as a stack component uses it."""
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.blob import ContainerClient

    return ContainerClient.from_container_url(
        sas_url,
        transport=RequestsTransport(use_env_settings=False, connection_verify=str(ca_file)),
        retry_total=0,
    )


def refused(action: Callable[..., Any], *arguments: Any) -> str:
    """Returns the storage service's error code for an action that it has to refuse."""
    from azure.core.exceptions import HttpResponseError

    try:
        action(*arguments)
    except HttpResponseError as error:
        response: Any = error.response
        return f"{error.status_code} {response.headers.get('x-ms-error-code')}"
    raise AssertionError("the storage service allowed it")


def soon(condition: Callable[[], Any], seconds: float, *, pause: float = 0.05) -> bool:
    """Waits until `condition` holds, asking after each `pause`; returns whether it came to that within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
