"""The dev stack without its broker: everything the broker talks to, on loopback, in one directory."""

import asyncio
import contextlib
import dataclasses
import fcntl
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tomli_w

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.model import ImplicitSource, Secret
from valetkey_broker.model.cloud_profile import DEVELOPMENT_ACCOUNT
from valetkey_devstack.azurite import Azurite, start_azurite
from valetkey_devstack.azurite_install import Progress
from valetkey_devstack.ca import CertificateAuthority, make_ca
from valetkey_devstack.control_plane import ControlPlane
from valetkey_devstack.demo_people import people_settings
from valetkey_devstack.directory_layout import Layout, write_private
from valetkey_devstack.free_ports import HOST, free_port, is_free
from valetkey_devstack.openbao import MOUNT, OpenBao, start_openbao
from valetkey_devstack.user_settings_file import ExtraSettings, read_extra_settings

CLOUD = "dev"
"""The name of the stack's cloud profile in the broker's settings."""

DEMO_CONTAINERS: Mapping[str, Sequence[str]] = {
    "demomlstorage": ("demo-zenmlartifactstore", "demo-models"),
    "demologs": ("demo-logs",),
}
"""The demo containers, by storage account."""

_REVOKED_AFTER_SECONDS = 3.0
DEVELOPMENT_CONTAINER = "demo-development"
"""The container of the account that `UseDevelopmentStorage=true` means."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The TCP ports of a stack on 127.0.0.1; free ones where none are given."""

    broker: int = field(default_factory=free_port)
    openbao: int = field(default_factory=free_port)
    azurite: int = field(default_factory=free_port)
    control_plane: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)
    console: int = field(default_factory=free_port)


class DevStack:
    """OpenBao, Azurite and the control-plane stand-in, and the settings of a broker that uses them.

    An async context manager; all of it ends with the process, however that ends. `openbao`, `azurite` and
    `control_plane` are there once it has started. `seconds` is how long that took.
    """

    openbao: OpenBao
    azurite: Azurite
    control_plane: ControlPlane
    ca: CertificateAuthority

    def __init__(
        self,
        directory: Path,
        *,
        ports: Ports | None = None,
        extra_settings: Path | None = None,
        progress: Progress = lambda _line: None,
    ) -> None:
        """`extra_settings` is a TOML file of settings that the broker gets on top of the stack's own.

        Raises ConfigurationError where it is missing or wrong.
        """
        self.layout = Layout(directory.absolute())
        self.ports = ports or Ports()
        self.extra_settings: ExtraSettings | None = None
        if extra_settings is not None:
            self.extra_settings = read_extra_settings(extra_settings, self.ports.broker, CLOUD)
        self.tenant_id = str(uuid.uuid4())
        self.client_id = str(uuid.uuid4())
        self.client_secret = Secret(secrets.token_urlsafe(30))
        self.subscription_id = str(uuid.uuid4())
        self.seconds = 0.0
        self._progress = progress
        self._open = AsyncExitStack()

    @property
    def directory(self) -> Path:
        """The stack's directory, absolute."""
        return self.layout.directory

    @property
    def settings_file(self) -> Path:
        """The broker's settings: `valetkey-broker serve --config` takes them."""
        return self.layout.settings_file

    @property
    def ca_file(self) -> Path:
        """The certificate to trust for every server of the stack, the broker's included."""
        return self.layout.tls / "ca.pem"

    async def start(self) -> None:
        """Brings everything up, at the same time.

        Raises ConfigurationError, after ending what had come up, where a part does not.
        """
        began = time.monotonic()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        self.seconds = time.monotonic() - began

    async def stop(self) -> None:
        """Ends everything in reverse order. May be called again."""
        await self._open.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self) -> None:
        self._check_ports()
        if self.extra_settings is not None:
            await self.extra_settings.check_ledger()
        try:
            self.layout.create()
            self._open.enter_context(_only_user_of(self.directory))
        except OSError as error:
            raise ConfigurationError(f"{self.directory}: cannot be used: {error.strerror}") from None
        self.ca = make_ca(self.layout.tls)
        failures: list[Exception] = []
        try:
            async with asyncio.TaskGroup() as parts:
                parts.create_task(self._start_control_plane())
                parts.create_task(self._start_openbao())
                parts.create_task(self._start_azurite())
        except* ConfigurationError as group:
            failures += group.exceptions  # Raised below: some versions of Python wrap what is raised here once more.
        if failures:
            # One explanation is enough: what else failed did so because the first one cancelled it.
            raise failures[0] from None
        self.control_plane.account_keys.holder = self.azurite
        self._write_settings()

    async def _start_control_plane(self) -> None:
        self.control_plane = ControlPlane(
            self.tenant_id, self.client_id, self.client_secret, self.subscription_id, DEMO_CONTAINERS
        )
        tls = self.ca.issue("control-plane", self.layout.tls)
        self._open.push_async_callback(self.control_plane.stop)
        await self.control_plane.start(HOST, self.ports.control_plane, *tls)
        await self.control_plane.managed_identities.start(HOST, 0)

    async def _start_openbao(self) -> None:
        self.openbao = await start_openbao(
            self.layout.openbao, self.ca, self.ports.openbao, log_file=self.layout.logs / "openbao.log"
        )
        self._open.push_async_callback(self.openbao.stop)

    async def _start_azurite(self) -> None:
        self.azurite = await start_azurite(
            self.layout.azurite,
            self.ca,
            self.ports.azurite,
            accounts=DEMO_CONTAINERS,
            log_file=self.layout.logs / "azurite.log",
            progress=self._progress,
        )
        self._open.push_async_callback(self.azurite.stop)
        # Late, as Azure may be: whoever revokes is to see that it takes a moment.
        self.control_plane.key_revocations.delay = _REVOKED_AFTER_SECONDS
        self.control_plane.key_revocations.apply = self.azurite.revoke_delegation_keys
        for account, names in DEMO_CONTAINERS.items():
            await self.azurite.create_containers(account, names)
        await self.azurite.create_containers(DEVELOPMENT_ACCOUNT, (DEVELOPMENT_CONTAINER,))

    def _check_ports(self) -> None:
        ports = dataclasses.asdict(self.ports)
        if self.extra_settings is not None and self.extra_settings.certificate_port is not None:
            ports["client certificates"] = self.extra_settings.certificate_port
        if len(set(ports.values())) < len(ports):
            raise ConfigurationError(f"two parts have the same port: {ports}; expected a different one for each")
        for part, port in ports.items():
            if not is_free(port):
                raise ConfigurationError(
                    f"port {port} ({part}) is in use on {HOST}; stop what listens there, or choose another port"
                )

    def _write_settings(self) -> None:
        certificate, key = self.ca.issue("broker", self.layout.tls)
        vault = self.openbao
        values: dict[str, Any] = {
            "default_cloud": CLOUD,
            "server": {
                "host": HOST,
                "port": self.ports.broker,
                "tls_cert_file": str(certificate),
                "tls_key_file": str(key),
            },
            "vault": {
                "address": vault.address,
                "mount": MOUNT,
                "role_id_file": str(vault.role_id_file),
                "secret_id_file": str(vault.secret_id_file),
                "ca_file": str(self.ca_file),
            },
            "metrics": {"host": HOST, "port": self.ports.metrics},
            "authn": people_settings(self.control_plane.log_ins, str(self.ca_file)),
            "ledger": {"url": f"sqlite:///{self.directory / 'ledger.db'}"},
            "clouds": {
                CLOUD: {
                    "authority": self.control_plane.url,
                    "arm_endpoint": self.control_plane.url,
                    "graph_endpoint": self.control_plane.graph_url,
                    "blob_endpoint": self.azurite.blob_endpoint,
                    "ca_file": str(self.ca_file),
                    # Azurite refuses the signed field scid.
                    "correlation_id": False,
                    "implicit_sources": list(ImplicitSource),
                    "emulator": True,
                }
            },
        }
        if self.extra_settings is not None:
            values = self.extra_settings.on_top_of(values)
        write_private(self.settings_file, tomli_w.dumps(values))


@contextlib.contextmanager
def _only_user_of(directory: Path) -> Iterator[None]:
    """Keeps a second stack out of `directory` until the end of this process at the latest."""
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"{directory}: another dev stack is running there; stop it, or give this one another directory"
            ) from None
        yield
