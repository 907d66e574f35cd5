"""The way to the broker: where it is, whom to trust, and how whoever stands here proves itself. Never a secret."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valetkey.atomic_files import write_whole
from valetkey.client import Client
from valetkey.settings import load_settings
from valetkey.token_source import TokenSource

_IDENTITY = ("API_KEY", "API_KEY_FILE", "TOKEN_FILE", "CLIENT_CERT_FILE", "CLIENT_KEY_FILE")
_made: list[Path] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAccess:
    """What a service connector hands to stack components: a way to get tokens, and nothing that is secret.

    `resource` is what it is for, `az://CONTAINER`. `ca_certificate` holds PEM; `connector` is the broker's, empty
    where it may choose.
    """

    resource: str = ""
    endpoint: str = ""
    ca_file: str = ""
    ca_certificate: str = ""
    token_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    connector: str = ""

    def arguments(self, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Returns who asks whom, as `Client` and `TokenSource` take it.

        The endpoint and the CA are the connector's, where it has them. The identity is that of the machine's own
        environment (`VALETKEY_…`), where it has one: whoever registers a connector for pods has no pod's token. Raises
        SettingsError where something is missing.
        """
        env = os.environ if environ is None else environ
        given: dict[str, str | None] = {"endpoint": self.endpoint, "ca_file": self._ca_file()}
        if not any(env.get(f"VALETKEY_{name}") for name in _IDENTITY):
            given |= {
                "token_file": self.token_file,
                "client_cert_file": self.client_cert_file,
                "client_key_file": self.client_key_file,
            }
        settings = load_settings(**given, environ=env)
        return {"endpoint": settings.endpoint, "ca_file": settings.ca_file, **settings.identity.arguments()}

    def client(self, timeout: float) -> Client:
        """Returns a client of the broker, to be closed; `timeout` is in seconds. Raises as `arguments` does."""
        return Client(**self.arguments(), timeout=timeout)

    def source(self, permissions: Iterable[str], **more: Any) -> TokenSource:
        """Returns a source of tokens for the resource; `more` is as `TokenSource` takes it. Raises as that does."""
        return TokenSource(self.resource, permissions, connector=self.connector or None, **self.arguments(), **more)

    def _ca_file(self) -> str:
        """Returns a file with the CA's certificate; one that travels with the connector is written to a file first.

        A file that is not on this machine is left out: then VALETKEY_CA_FILE says.
        """
        if self.ca_certificate:
            return str(_written(self.ca_certificate.encode()))
        return self.ca_file if self.ca_file and Path(self.ca_file).is_file() else ""


def _written(certificate: bytes) -> Path:
    """Returns a file of this user's that holds the certificate, the same one for all processes."""
    directory = Path(tempfile.gettempdir(), f"valetkey-{os.getuid() if hasattr(os, 'getuid') else 'ca'}")
    # Others may write to the folder for temporary files, and put there what they like under this name.
    if not _is_ours_alone(directory):
        directory = _folder_of_this_process()
    path = directory / f"{hashlib.sha256(certificate).hexdigest()}.pem"
    if not path.is_file() or path.read_bytes() != certificate:
        write_whole(path, certificate)
    return path


def _is_ours_alone(directory: Path) -> bool:
    """Tells whether a folder, made where there is nothing, is this user's alone; a file or a link is none."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
    except FileExistsError:
        return False
    if not hasattr(os, "getuid"):
        return True
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def _folder_of_this_process() -> Path:
    if not (_made and _made[-1].is_dir()):  # What tidies up there may have taken it.
        _made.append(Path(tempfile.mkdtemp(prefix="valetkey-")))
    return _made[-1]
