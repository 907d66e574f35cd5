"""The CAs that may vouch for callers, each for its own trust domain, read anew when their files change."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.x509.verification import Store

from valetkey_broker.errors import ConfigurationError

_CHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """All CAs at one moment: as PEM for TLS, and by trust domain. A change makes a new one."""

    pem: bytes
    stores: Mapping[str, Store]


class TrustBundles:
    """Follows the CA files (PEM), as SPIRE and cert-manager rotate them. May be asked from any thread."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Raises ConfigurationError where a file does not hold certificates."""
        self._files = dict(files)
        self._lock = threading.Lock()
        self._stamp = self._stamps()
        self._bundle = self._read()
        self._checked_at = time.monotonic()

    def current(self) -> Bundle:
        """Returns the CAs as of at most a second ago; the last good ones while a file is broken."""
        if time.monotonic() - self._checked_at < _CHECK_SECONDS:
            return self._bundle
        with self._lock:
            self._checked_at = time.monotonic()
            stamp = self._stamps()
            if stamp != self._stamp:
                # Remembered also where reading fails: the warning is said once for each change.
                self._stamp = stamp
                try:
                    self._bundle = self._read()
                except ConfigurationError as error:
                    structlog.get_logger().warning("keeping the CAs of client certificates", problem=str(error))
            return self._bundle

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._files.values())

    def _read(self) -> Bundle:
        pems: list[bytes] = []
        stores: dict[str, Store] = {}
        for domain, path in self._files.items():
            try:
                pem = path.read_bytes()
                stores[domain] = Store(x509.load_pem_x509_certificates(pem))
            except OSError as error:
                raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
            except ValueError:
                raise ConfigurationError(
                    f"{path}: holds no CA certificates; expected the PEM bundle of trust domain {domain}"
                ) from None
            pems.append(pem)
        return Bundle(b"\n".join(pems), stores)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
