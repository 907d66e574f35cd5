"""Ends of the certificates that the settings name: the server's own, and the CAs of client certificates."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

from cryptography import x509

from valetkey_broker.model.ending import Ending, EndingKind

_ITSELF = "the certificate"


class CertificateFiles:
    """A source (see endings.py) that reads the files as they are now."""

    def __init__(self, server_certificate: Path, trust_domains: Mapping[str, Path]) -> None:
        self._server = server_certificate
        self._trust_domains = dict(trust_domains)

    async def __call__(self) -> Iterable[Ending]:
        """Returns when each file ends to be of use."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> list[Ending]:
        # Whoever is served needs the whole chain; of the CAs, one is enough.
        return [
            _ending(
                EndingKind.SERVER_CERTIFICATE,
                "server.tls_cert_file",
                self._server,
                min,
                "renew it, and put it with its key into the files of server.tls_cert_file and server.tls_key_file; "
                "that counts within a second",
            ),
            *(
                _ending(
                    EndingKind.TRUST_BUNDLE,
                    domain,
                    path,
                    max,
                    "get the trust domain's newer CAs into the file of authn.mtls.trust_domains (spire-server bundle "
                    "show); they count within a second",
                )
                for domain, path in self._trust_domains.items()
            ),
        ]


def _ending(
    kind: EndingKind, name: str, path: Path, which: Callable[[Iterable[datetime]], datetime], mend: str
) -> Ending:
    try:
        ends = which([each.not_valid_after_utc for each in x509.load_pem_x509_certificates(path.read_bytes())])
    except (OSError, ValueError):
        return Ending(kind, name, None, "the file cannot be read now", mend, not_looked_at=True)
    return Ending(kind, name, ends, _ITSELF, mend)
