"""What a dev stack prints for clients of storage."""

import ssl
from pathlib import Path

from valetkey_devstack.ca import make_ca
from valetkey_devstack.storage_trust import storage_exports, system_cas, write_bundle


def test_the_bundle_takes_nothing_away(tmp_path: Path) -> None:
    """Protects other HTTPS of that shell: what replaces the machine's CAs for a tool holds them as well."""
    ca_file = make_ca(tmp_path).ca_file
    bundle = write_bundle(ca_file)
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted.load_verify_locations(bundle)
    own = ssl.PEM_cert_to_DER_cert(ca_file.read_text())
    certificates = trusted.get_ca_certs(binary_form=True)
    assert own in certificates
    assert len(certificates) == 1 or system_cas() in bundle.read_text()
    lines = storage_exports(ca_file, bundle)
    assert lines[0] == f"export VALETKEY_STORAGE_CA_FILE={ca_file}"
    assert lines[1:] == [
        f"export {name}={bundle}" for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    ]
