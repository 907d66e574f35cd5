#!/usr/bin/env bash
# ManagedIdentityCredential asks no managed identity where AZURE_AUTHORITY_HOST, AZURE_TENANT_ID and
# AZURE_FEDERATED_TOKEN_FILE are set, as AKS sets them in pods with workload identity: it silently becomes another
# principal, the one of the federated token. Whoever chose the class to have the node's identity has the pod's.
# Guessed before: a class that is named after one source uses that source, or fails.
# Versions: azure-identity 1.27.0, aiohttp 3.14.5 (PyPI). Needs: python3 ≥ 3.9 with venv. Nothing is sent.
# Seen: ImdsCredential without the variables, WorkloadIdentityCredential with them; the synchronous class alike.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet azure-identity==1.27.0 aiohttp==3.14.5 2> pip.log || { cat pip.log; exit 1; }
echo token > token.jwt
cat > try.py <<'PY'
from azure.identity import ManagedIdentityCredential
from azure.identity.aio import ManagedIdentityCredential as AioManagedIdentityCredential

client = "22222222-2222-4222-8222-222222222222"
for kind in (ManagedIdentityCredential, AioManagedIdentityCredential):
    print(type(kind(client_id=client)._credential).__name__)
PY
plain=$(env -u AZURE_AUTHORITY_HOST -u AZURE_TENANT_ID -u AZURE_FEDERATED_TOKEN_FILE -u IDENTITY_ENDPOINT -u MSI_ENDPOINT \
  venv/bin/python try.py | sort -u)
inside=$(env AZURE_AUTHORITY_HOST=https://login.microsoftonline.com/ AZURE_TENANT_ID=11111111-1111-4111-8111-111111111111 \
  AZURE_FEDERATED_TOKEN_FILE="$folder/token.jwt" venv/bin/python try.py | sort -u)
echo "without: $plain; with: $inside"
[ "$plain" = ImdsCredential ] && [ "$inside" = WorkloadIdentityCredential ]
