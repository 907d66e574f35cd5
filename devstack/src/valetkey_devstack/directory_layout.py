"""The files of a dev stack's directory, and how private ones are written."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand in a stack's directory; only its owner may look in."""

    directory: Path

    def create(self) -> None:
        """Makes the directories that are missing, closed to other users. Raises OSError where it cannot."""
        for directory in (self.directory, self.tls, self.logs, self.openbao, self.azurite):
            private_directory(directory)

    @property
    def settings_file(self) -> Path:
        """The broker's settings."""
        return self.directory / "broker.toml"

    @property
    def tls(self) -> Path:
        """Certificates and keys, the CA's certificate among them."""
        return self.directory / "tls"

    @property
    def logs(self) -> Path:
        """One log file for each child process."""
        return self.directory / "logs"

    @property
    def openbao(self) -> Path:
        """OpenBao's files, and the broker's role id and secret id."""
        return self.directory / "openbao"

    @property
    def azurite(self) -> Path:
        """Azurite's working directory."""
        return self.directory / "azurite"


def private_directory(path: Path) -> Path:
    """Makes `path` if it is missing and closes it to other users (mode 0700). Returns it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def write_private(path: Path, text: str) -> None:
    """Writes `text` to `path` (mode 0600 from its first moment), in place of what was there."""
    path.unlink(missing_ok=True)
    # O_EXCL: a file or link that someone else put there in between is an error, not followed.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
