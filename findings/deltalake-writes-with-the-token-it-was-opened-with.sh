#!/usr/bin/env bash
# `write_deltalake(table, data, storage_options={"sas_token": …})` takes the options that it is given for a URL. For a
# DeltaTable it drops them without a word: the table's own are used, and a job that opened its table before the token was
# renewed writes with the old one, whatever it passes. Its docstring names storage_options without that exception, and the
# change that brought the lines meant the new ones to win (delta-io/delta-rs#893).
# Guessed before: options that are given count.
# Versions: deltalake 1.6.6, pyarrow 26.0.1, azure-storage-blob 12.31.1 (PyPI), azurite 3.37.0 (npm).
# Needs: python3 ≥ 3.10 with venv, node, npm.
# Seen: by the URL, a token given now is used. By a table that a reader's token opened, writing with a writer's token is
# refused, and so, the other way round, a token that is none is never looked at.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund azurite@3.37.0 > npm.log 2>&1
python3 -m venv venv
venv/bin/pip install --quiet deltalake==1.6.6 pyarrow==26.0.1 azure-storage-blob==12.31.1 2> pip.log || { cat pip.log; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/azurite-blob --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" --location data > azurite.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import sys
import time
from datetime import datetime, timedelta, timezone

import pyarrow
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobServiceClient, generate_container_sas
from deltalake import DeltaTable, write_deltalake

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


def options(permission):
    ends = datetime.now(timezone.utc) + timedelta(hours=1)
    sas = generate_container_sas("devstoreaccount1", "models", account_key=key, permission=permission, expiry=ends)
    return {"account_name": "devstoreaccount1", "endpoint": url, "allow_http": "true", "sas_token": sas}


PLACE, DATA = "az://models/table", pyarrow.table({"step": [1]})
READER, WRITER = options("rl"), options("rwdl")
NONE = {**WRITER, "sas_token": "sv=2025-11-05&sp=rwdl&sr=c&sig=none"}


def seen(told, *arguments, **options):
    try:
        write_deltalake(*arguments, mode="append", **options)
        print(f"{told}: writes")
    except Exception:
        print(f"{told}: fails")


seen("URL, writer's token", PLACE, DATA, storage_options=WRITER)
seen("URL, no token", PLACE, DATA, storage_options=NONE)
seen("table of the reader's, writer's token", DeltaTable(PLACE, storage_options=READER), DATA, storage_options=WRITER)
seen("table of the writer's, no token", DeltaTable(PLACE, storage_options=WRITER), DATA, storage_options=NONE)
PY
out=$(venv/bin/python try.py "$port")
echo "$out"
[ "$out" = "URL, writer's token: writes
URL, no token: fails
table of the reader's, writer's token: fails
table of the writer's, no token: writes" ]
