#!/usr/bin/env bash
# `sslmode=verify-full&sslrootcert=system` has libpq trust the system's CAs: what managed databases with public
# certificates ask for. The wheels of psycopg[binary] bring an OpenSSL of their own, whose system is
# /usr/lib/psycopg-openssl, a folder that no distribution has: each such connection fails with "certificate verify
# failed", in an image that has ca-certificates and in which Python, curl and a psycopg built there verify the same
# certificate. SSL_CERT_FILE mends it, or the path of the bundle as sslrootcert.
# Guessed before: "system" is the system's, as for Python's ssl in the same process.
# Versions: psycopg 3.3.9, psycopg-binary 3.3.9, trustme 1.2.1 (PyPI). Needs: python3 ≥ 3.10 with venv, Linux x86_64.
# Seen: libpq looks into /usr/lib/psycopg-openssl, which is not there; with SSL_CERT_FILE the certificate is verified.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet psycopg==3.3.9 psycopg-binary==3.3.9 trustme==1.2.1 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import ctypes
import glob
import os
import queue
import socket
import ssl
import threading

import psycopg
import psycopg_binary
import trustme

libraries = os.path.join(os.path.dirname(psycopg_binary.__file__), "..", "psycopg_binary.libs")
crypto = ctypes.CDLL(glob.glob(os.path.join(libraries, "libcrypto*"))[0])
crypto.X509_get_default_cert_dir.restype = ctypes.c_char_p
place = crypto.X509_get_default_cert_dir().decode()
print("its system:", place, os.path.exists(place))

authority = trustme.CA()
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
authority.issue_cert("127.0.0.1").configure_cert(context)
listener = socket.create_server(("127.0.0.1", 0))
verified = queue.Queue()


def serve():
    """Takes TLS as PostgreSQL does, says whether the client was content, and no more."""
    while True:
        connection, _ = listener.accept()
        connection.recv(8)  # SSLRequest
        connection.sendall(b"S")
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                verified.put(bool(secured.recv(1)))  # what comes first inside: the start-up message
        except OSError:
            verified.put(False)


threading.Thread(target=serve, daemon=True).start()


def connect():
    try:
        psycopg.connect(f"host=127.0.0.1 port={listener.getsockname()[1]} user=a dbname=a sslmode=verify-full sslrootcert=system")
    except psycopg.OperationalError as error:
        return "certificate verify failed" in str(error), verified.get()


print("as it is: refused", *connect())
authority.cert_pem.write_to_path("ca.pem")
os.environ["SSL_CERT_FILE"] = os.path.abspath("ca.pem")
print("with SSL_CERT_FILE: refused", *connect())
PY
out=$(env -u SSL_CERT_FILE -u SSL_CERT_DIR venv/bin/python try.py)
echo "$out"
[ "$out" = "its system: /usr/lib/psycopg-openssl/certs False
as it is: refused True False
with SSL_CERT_FILE: refused False True" ]
