#!/usr/bin/env bash
# `send_certificate_chain=True` makes the synchronous CertificateCredential send the certificate chain (`x5c`), by which
# Entra finds an application that trusts a subject and issuer instead of one certificate. The asynchronous class takes
# the same option without a word, and sends no chain: such an application cannot log in by it.
# Guessed before: both classes send it; their documentation names the option alike.
# Versions: azure-identity 1.27.0, aiohttp 3.14.5, cryptography 50.0.2 (PyPI). Needs: python3 ≥ 3.9 with venv.
# Seen: the header of the assertion has x5c from the synchronous class, and alg, typ, x5t#S256 alone from the other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet azure-identity==1.27.0 aiohttp==3.14.5 cryptography==50.0.2 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import asyncio, base64, datetime, json
from urllib.parse import parse_qs
from azure.core.pipeline.transport import AsyncHttpTransport, HttpTransport
from azure.identity import CertificateCredential
from azure.identity.aio import CertificateCredential as AioCertificateCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an application")])
now = datetime.datetime.now(datetime.timezone.utc)
certificate = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    .sign(key, hashes.SHA256())
)
pem = key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
) + certificate.public_bytes(serialization.Encoding.PEM)

class Answer:
    """What Entra answers; tokens need not be real for this."""
    status_code, headers, content_type, reason = 200, {"Content-Type": "application/json"}, "application/json", "OK"
    def __init__(self, request):
        self.request = request
    def text(self, encoding=None):
        if self.request.method == "GET":
            base = "https://login.microsoftonline.com/t"
            return json.dumps({f"{each}_endpoint": f"{base}/{each}" for each in ("authorization", "token")} | {"issuer": base})
        return json.dumps({"access_token": "a", "expires_in": 3600, "token_type": "Bearer"})
    def body(self):
        return self.text().encode()
    async def load_body(self):
        pass

seen = {}
def note(kind, request):
    data = request.data or request.body or {}
    if isinstance(data, str):
        data = {key: values[0] for key, values in parse_qs(data).items()}
    if isinstance(data, dict) and "client_assertion" in data:
        assertion = data["client_assertion"]
        head = (assertion if isinstance(assertion, str) else assertion.decode()).split(".")[0]
        seen[kind] = sorted(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))))

class Sync(HttpTransport):
    def open(self): pass
    def close(self): pass
    def __exit__(self, *_): pass
    def send(self, request, **_):
        note("sync", request)
        return Answer(request)

class Aio(AsyncHttpTransport):
    async def open(self): pass
    async def close(self): pass
    async def __aexit__(self, *_): pass
    async def send(self, request, **_):
        note("aio", request)
        return Answer(request)

options = {"certificate_data": pem, "send_certificate_chain": True, "disable_instance_discovery": True}
tenant, client, scope = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222", "https://storage.azure.com/.default"
try:
    CertificateCredential(tenant, client, transport=Sync(), **options).get_token(scope)
except Exception:  # what it makes of the short answers is not in question
    pass
async def aio():
    try:
        await AioCertificateCredential(tenant, client, transport=Aio(), **options).get_token(scope)
    except Exception:
        pass
asyncio.run(aio())
print("sync sends x5c:", "x5c" in seen.get("sync", []))
print("aio sends:", ", ".join(seen.get("aio", [])))
PY
out=$(venv/bin/python try.py)
echo "$out"
[ "$out" = "sync sends x5c: True
aio sends: alg, typ, x5t#S256" ]
