"""Azurite, the real data plane of the dev stack: blob service only, over TLS, with OAuth."""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.model import Secret, check_account
from valetkey_broker.model.cloud_profile import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY
from valetkey_devstack.azurite_install import Progress, ensure_installed, node_program
from valetkey_devstack.ca import CertificateAuthority
from valetkey_devstack.child_process import Child, tls_ready
from valetkey_devstack.directory_layout import private_directory, write_private
from valetkey_devstack.free_ports import HOST, free_port

# Azure's own account keys are this long.
_KEY_BYTES = 64
_TAKES_KEYS = Path(__file__).with_name("azurite_keys.js")
_REVOKES_KEYS = Path(__file__).with_name("azurite_revocations.js")
_NEW_KEYS_WITHIN = 10.0
_KEYS = ("key1", "key2")


class Azurite:
    """A running Azurite with its accounts. `accounts` maps the name of each to its first key, `second_keys` to key2."""

    def __init__(
        self,
        script: Path,
        directory: Path,
        ca: CertificateAuthority,
        port: int,
        accounts: Mapping[str, Secret],
        log_file: Path,
    ) -> None:
        self.directory = directory
        self.log_file = log_file
        self.port = port
        self.ca_file = ca.ca_file
        self.accounts = dict(accounts)
        # The account that everybody knows has one key.
        self.second_keys = {name: new_key() for name in accounts if name != DEVELOPMENT_ACCOUNT}
        self._accounts_file = directory / "accounts.new"
        self._regenerating = asyncio.Lock()
        self._revocations_file = directory / "revocations.json"
        self._revocations: dict[str, dict[str, float]] = {}
        self._script = script
        self._certificate, self._key = ca.issue("azurite", directory)
        self._child: Child | None = None

    @property
    def blob_endpoint(self) -> str:
        """The template of a cloud profile's `blob_endpoint`."""
        return f"https://{HOST}:{self.port}/{{account}}"

    @property
    def pid(self) -> int | None:
        """The process id; None when it is not running."""
        return self._child.pid if self._child else None

    def blob_url(self, account: str) -> str:
        """Returns the blob endpoint of `account`."""
        return self.blob_endpoint.format(account=account)

    async def start(self) -> None:
        """Starts the server; again after `stop`, with the same port, keys and blobs.

        Raises ConfigurationError where it does not come up.
        """
        argv: list[str | Path] = [node_program(), "--require", _TAKES_KEYS, "--require", _REVOKES_KEYS, self._script]
        argv += ["--blobHost", HOST, "--blobPort", str(self.port), "--location", self.directory]
        argv += ["--cert", self._certificate, "--key", self._key, "--oauth", "basic", "--disableTelemetry"]
        # New clients send an API version that it has not heard of yet; what it serves is the same in these.
        argv += ["--skipApiVersionCheck"]
        # Silent: its access log would hold the signature of every SAS.
        argv += ["--silent"]
        self._child = await Child.start(
            "Azurite",
            argv,
            log_file=self.log_file,
            ready=tls_ready(self.port, self.ca_file),
            env={
                "AZURITE_ACCOUNTS": self._accounts_text(),
                "VALETKEY_ACCOUNTS_FILE": str(self._accounts_file),
                "VALETKEY_REVOCATIONS_FILE": str(self._revocations_file),
                "HOME": str(self.directory),
                # It fetches what is copied from itself, by the URL that the client gave.
                "NODE_EXTRA_CA_CERTS": str(self.ca_file),
            },
            cwd=self.directory,
        )

    async def stop(self) -> None:
        """Stops the server, which saves its blobs. May be called again."""
        if self._child:
            await self._child.stop()
            self._child = None

    def kill(self) -> None:
        """Kills the server at once; what it has not saved is lost."""
        if self._child:
            self._child.kill()
            self._child = None

    def keys(self, account: str) -> Mapping[str, Secret]:
        """Returns the keys of `account` by Azure's names for them."""
        both = (self.accounts[account], self.second_keys.get(account))
        return {name: key for name, key in zip(_KEYS, both, strict=True) if key is not None}

    async def regenerate(self, account: str, name: str) -> None:
        """Gives `account` another `key1` or `key2`; returns once Azurite refuses the old one.

        Raises LookupError where there is no such key, and ConfigurationError where Azurite does not take it.
        """
        async with self._regenerating:
            _ = self.keys(account)[name]
            (self.accounts if name == _KEYS[0] else self.second_keys)[account] = new_key()
            if self._child is None:
                return  # It starts with them.
            await asyncio.to_thread(write_private, self._accounts_file, self._accounts_text())
            os.kill(self._child.pid, signal.SIGHUP)
            try:
                async with asyncio.timeout(_NEW_KEYS_WITHIN):
                    while self._accounts_file.exists():  # noqa: ASYNC110 (another process removes it)
                        await asyncio.sleep(0.005)
            except TimeoutError:
                with contextlib.suppress(OSError):
                    self._accounts_file.unlink()
                raise ConfigurationError(f"Azurite did not take new keys within {_NEW_KEYS_WITHIN:g} s") from None

    def _accounts_text(self) -> str:
        return ";".join(":".join([name, *(key.reveal() for key in self.keys(name).values())]) for name in self.accounts)

    def revoke_delegation_keys(self, account: str, before: float, since: float) -> None:
        """Has it refuse tokens of `account` whose key begins before a time, from another time on (Unix seconds)."""
        self._revocations[account] = {"before": before, "since": since}
        written = self._revocations_file.with_suffix(".new")
        written.write_text(json.dumps(self._revocations), encoding="ascii")
        written.replace(self._revocations_file)

    async def create_containers(self, account: str, names: Iterable[str]) -> None:
        """Creates containers with the account key; those that exist already stay as they are."""
        # Late: these take half a second to load, while Azurite starts.
        from azure.core.exceptions import ResourceExistsError  # noqa: PLC0415
        from azure.core.pipeline.transport import AioHttpTransport  # noqa: PLC0415
        from azure.storage.blob.aio import BlobServiceClient  # noqa: PLC0415

        async with BlobServiceClient(
            self.blob_url(account),
            credential={"account_name": account, "account_key": self.accounts[account].reveal()},
            # Not through a proxy that the environment names: this is loopback.
            transport=AioHttpTransport(use_env_settings=False, connection_verify=str(self.ca_file)),
            retry_total=0,
        ) as service:
            for name in names:
                try:
                    await service.create_container(name)
                except ResourceExistsError:
                    continue


async def start_azurite(
    directory: Path,
    ca: CertificateAuthority,
    port: int | None = None,
    *,
    accounts: Iterable[str] = ("demomlstorage", "demologs"),
    log_file: Path | None = None,
    progress: Progress = lambda _line: None,
) -> Azurite:
    """Installs Azurite if it is missing and starts it in `directory` with new, random account keys.

    Beside `accounts` it has the account that `UseDevelopmentStorage=true` means, with the key that everybody knows.
    `port` None takes a free one. Raises ConfigurationError where it cannot be installed or does not come up.
    """
    script = await asyncio.to_thread(ensure_installed, progress)
    private_directory(directory)
    keys = {check_account("account", name): new_key() for name in accounts}
    keys[DEVELOPMENT_ACCOUNT] = DEVELOPMENT_KEY
    azurite = Azurite(script, directory, ca, port or free_port(), keys, log_file or directory / "azurite.log")
    await azurite.start()
    return azurite


def new_key() -> Secret:
    """Returns a random account key."""
    return Secret(base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode("ascii"))
