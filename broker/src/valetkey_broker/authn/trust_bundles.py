"""The CAs that may vouch for callers, each for its own trust domain, read anew when their files change."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.verification import Store

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.watched_files import CHECK_SECONDS, WatchedFiles, is_whole_pem


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """All CAs at one moment: as PEM for TLS, and by trust domain. A change makes a new one."""

    pem: bytes
    stores: Mapping[str, Store]


class TrustBundles:
    """Follows the CA files (PEM), as SPIRE and cert-manager rotate them. May be asked from any thread."""

    def __init__(self, files: Mapping[str, Path], *, check_seconds: float = CHECK_SECONDS) -> None:
        """Raises ConfigurationError where a file does not hold certificates."""
        self._files = dict(files)
        self._bundle = WatchedFiles(
            "the CAs of client certificates", self._files, self._made, check_seconds=check_seconds
        )
        self._bundle.current()

    def current(self) -> Bundle:
        """Returns the CAs as of at most a second ago; the last good ones while a file is broken."""
        return self._bundle.current()

    def _made(self, contents: Mapping[str, bytes]) -> Bundle:
        stores: dict[str, Store] = {}
        for domain, pem in contents.items():
            # Half of the CAs would end the streams of all for whom the others vouch.
            if not is_whole_pem(pem):
                raise self._no_bundle(domain)
            try:
                stores[domain] = Store(x509.load_pem_x509_certificates(pem))
            except ValueError:
                raise self._no_bundle(domain) from None
        return Bundle(b"\n".join(contents.values()), stores)

    def _no_bundle(self, domain: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self._files[domain]}: holds no CA certificates, or breaks off amid one; "
            f"expected the PEM bundle of trust domain {domain}"
        )
