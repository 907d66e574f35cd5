"""What leads clients of storage to the stack's CA: each tool has a name of its own for it."""

import shlex
import ssl
from collections.abc import Sequence
from pathlib import Path

from valetkey_devstack.directory_layout import write_private

# Where distributions keep the CAs that they trust, if OpenSSL was built to look elsewhere.
_SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
)
# What these name is trusted in place of the system's CAs, not besides them.
_BUNDLES = (
    "CURL_CA_BUNDLE",  # curl
    "REQUESTS_CA_BUNDLE",  # requests, and with it azure-storage-blob and valetkey.azure
    "SSL_CERT_FILE",  # Python's ssl (aiohttp, adlfs), Go (rclone, azcopy), most of Rust
)


def system_cas() -> str:
    """Returns the CAs that this machine trusts, PEM; empty where they are not in one file."""
    default = ssl.get_default_verify_paths()
    # Not SSL_CERT_FILE: from a shell that has sourced env.sh, that is the bundle of a stack before this one.
    for path in map(Path, (default.openssl_cafile, *_SYSTEM)):
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    return ""


def write_bundle(ca_file: Path) -> Path:
    """Writes `storage-cas.pem` beside the stack's CA: that CA and those of this machine. Returns its path."""
    bundle = ca_file.with_name("storage-cas.pem")
    write_private(bundle, f"{ca_file.read_text(encoding='ascii')}\n{system_cas()}")
    return bundle


def storage_exports(ca_file: Path, bundle: Path) -> Sequence[str]:
    """Returns lines for a shell by which tools trust storage, and other servers as before."""
    return [
        f"export VALETKEY_STORAGE_CA_FILE={shlex.quote(str(ca_file))}",
        *(f"export {name}={shlex.quote(str(bundle))}" for name in _BUNDLES),
    ]
