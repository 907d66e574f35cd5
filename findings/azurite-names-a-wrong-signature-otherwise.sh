#!/usr/bin/env bash
# Azurite names a SAS whose signature does not fit `AuthorizationFailure`; Azure's storage service names it
# `AuthenticationFailed` (https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes).
# Whoever tells "this token is none" from "this token may not" by the code alone is right on one of them only.
# Guessed before: the same code on both.
# Versions: azurite 3.37.0 (npm), azure-storage-blob 12.28.0 (PyPI). Needs: python3 ≥ 3.9 with venv, node, npm.
# Seen: status 403, code AuthorizationFailure.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund azurite@3.37.0 > npm.log 2>&1
python3 -m venv venv
venv/bin/pip install --quiet azure-storage-blob==12.28.0
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/azurite-blob --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" --location data > azurite.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import base64, sys, time
from datetime import datetime, timedelta, timezone
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.storage.blob import BlobServiceClient, ContainerClient, generate_container_sas

url = f"http://127.0.0.1:{sys.argv[1]}/devstoreaccount1"
# The emulator's well-known account key, from its README.
key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
service = BlobServiceClient(url, credential=key, retry_total=0)
for _ in range(900):
    try:
        service.create_container("models")
        break
    except ServiceRequestError:
        time.sleep(0.1)
ends = datetime.now(timezone.utc) + timedelta(hours=1)
def listed(signing_key: str) -> str:
    sas = generate_container_sas("devstoreaccount1", "models", account_key=signing_key, permission="l", expiry=ends)
    try:
        return str(list(ContainerClient(url, "models", credential=sas, retry_total=0).list_blobs()))
    except HttpResponseError as error:
        return f"{error.status_code} {error.error_code.value}"
print("right key:", listed(key))
print("other key:", listed(base64.b64encode(b"some other key of the right length".ljust(64)).decode()))
PY
out=$(venv/bin/python try.py "$port")
echo "$out"
[ "$out" = "right key: []
other key: 403 AuthorizationFailure" ]
