#!/usr/bin/env bash
# A gRPC server starts with a certificate whose key is P-521 or Ed25519, as cert-manager, step-ca and openssl make them on
# demand; Python's ssl, and so anything that checks the server by a TLS handshake, is content with it. No gRPC client
# connects: "Handshake read failed (Socket closed)", UNAVAILABLE, which is a word for what passes by itself.
# gRPC's BoringSSL verifies signatures of RSA, P-256 and P-384 only (known, and nowhere in gRPC's documentation).
# Guessed before: what the server starts with and other TLS clients take, gRPC's own client takes.
# Versions: grpcio 1.85.1, cryptography 50.0.2 (PyPI). Needs: python3 ≥ 3.9 with venv.
# Seen: RSA, P-256, P-384: both connect. P-521, Ed25519: Python's ssl connects, gRPC UNAVAILABLE.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet grpcio==1.85.1 cryptography==50.0.2 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import datetime
import ipaddress
import socket
import ssl
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)


def certificate(key, signed_by):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
    now = datetime.datetime.now(datetime.timezone.utc)
    own = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1)).add_extension(own, False)
        .add_extension(x509.BasicConstraints(True, None), True).sign(key, signed_by)
    ).public_bytes(Encoding.PEM)


for kind, key, signed_by in (
    ("RSA", rsa.generate_private_key(65537, 2048), hashes.SHA256()),
    ("P-256", ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()),
    ("P-384", ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
    ("P-521", ec.generate_private_key(ec.SECP521R1()), hashes.SHA512()),
    ("Ed25519", ed25519.Ed25519PrivateKey.generate(), None),
):
    pem = certificate(key, signed_by)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=(Echo(),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(private, pem)]))
    server.start()

    context = ssl.create_default_context(cadata=pem.decode())
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1"):
            plain = "connects"
    except OSError as error:
        plain = type(error).__name__

    with grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(pem)) as channel:
        try:
            channel.unary_unary("/echo.Echo/Say")(b"x", timeout=30)
            answer = "connects"
        except grpc.RpcError as error:
            answer = error.code().name
    server.stop(None).wait()
    print(f"{kind}: ssl {plain}, gRPC {answer}")
PY
out=$(venv/bin/python try.py 2> grpc.log) || { cat grpc.log; exit 1; }
echo "$out"
[ "$out" = "RSA: ssl connects, gRPC connects
P-256: ssl connects, gRPC connects
P-384: ssl connects, gRPC connects
P-521: ssl connects, gRPC UNAVAILABLE
Ed25519: ssl connects, gRPC UNAVAILABLE" ]
