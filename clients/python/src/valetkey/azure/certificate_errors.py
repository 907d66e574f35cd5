"""A certificate that is not trusted is told at once: azure-storage-blob would try again for more than a minute."""

from urllib.parse import urlsplit

from valetkey.errors import SettingsError
from valetkey.storage_certificate_check import refused_certificate, untrusted

_REMEDY = (
    "expected one by a CA in SSL_CERT_FILE (for synchronous clients REQUESTS_CA_BUNDLE), "
    "or in connection_verify=CA_FILE (storage_ca_file=CA_FILE for valetkey.fsspec)"
)


def told_as_untrusted(error: Exception, url: str) -> SettingsError | None:
    """Returns what nothing tries again where it was the certificate; None where something else is behind `error`."""
    why = refused_certificate(error)
    return untrusted(urlsplit(url).netloc, why, _REMEDY) if why else None
