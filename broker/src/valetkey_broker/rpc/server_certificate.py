"""The server's own certificate and key, read anew when they are rotated."""

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.settings import ServerSettings, check_key_kind
from valetkey_broker.watched_files import CHECK_SECONDS, WatchedFiles, is_whole_pem

_CERTIFICATE, _KEY = "server.tls_cert_file", "server.tls_key_file"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CertificatePair:
    """A key and its certificate chain, leaf first, both PEM. A change makes a new one.

    `ends` is when the first certificate of the chain does (Unix seconds).
    """

    key: bytes
    chain: bytes
    ends: float


class ServerCertificate:
    """Follows the two files. May be asked from any thread."""

    def __init__(self, settings: ServerSettings, *, check_seconds: float = CHECK_SECONDS) -> None:
        """Raises ConfigurationError where the files cannot be used."""
        files = {_CERTIFICATE: settings.tls_cert_file, _KEY: settings.tls_key_file}
        self._pair = WatchedFiles("the broker's own certificate", files, _checked, check_seconds=check_seconds)
        self._pair.current()

    def current(self) -> CertificatePair:
        """Returns the pair as of at most a second ago; the last good one while the two do not belong together.

        They are two files, and whoever renews them writes one after the other.
        """
        return self._pair.current()

    @property
    def ends(self) -> float:
        """When the pair in use ends, in Unix seconds."""
        return self._pair.current().ends

    @property
    def unusable(self) -> bool:
        """Whether the files, as they were last looked at, cannot be used, and an earlier pair is."""
        return self._pair.unusable


def _checked(contents: Mapping[str, bytes]) -> CertificatePair:
    try:
        chain = x509.load_pem_x509_certificates(contents[_CERTIFICATE])
    except ValueError:
        raise ConfigurationError(
            f"{_CERTIFICATE}: is not a certificate; expected PEM, the server's own first"
        ) from None
    if not is_whole_pem(contents[_CERTIFICATE]):
        raise ConfigurationError(f"{_CERTIFICATE}: breaks off amid a certificate of its chain; expected PEM, all of it")
    check_key_kind(_CERTIFICATE, chain[0])
    try:
        key = load_pem_private_key(contents[_KEY], password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{_KEY}: is not a private key; expected PEM without a passphrase") from None
    of_key, of_leaf = (
        each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for each in (key.public_key(), chain[0].public_key())
    )
    if of_key != of_leaf:
        raise ConfigurationError(f"{_KEY}: does not belong to the certificate of {_CERTIFICATE}")
    ends = min(each.not_valid_after_utc for each in chain).timestamp()
    return CertificatePair(contents[_KEY], contents[_CERTIFICATE], ends)
