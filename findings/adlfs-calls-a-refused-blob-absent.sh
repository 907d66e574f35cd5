#!/usr/bin/env bash
# `isfile` of adlfs answers False for whatever goes wrong: a token that has expired, one that may not read, a storage that
# is away. pyarrow asks it before it opens a file, and so turns every refusal into FileNotFoundError: ParquetFile,
# read_metadata, read_schema and open_input_file say that a blob is not there which is. `in` of a mapper says False, too.
# "If there is a checkpoint, go on from it, else begin" begins anew once the token has ended, and overwrites it.
# `exists` and `open` of the same file system, and read_table of the same pyarrow, do raise.
# Guessed before: isfile raises what exists and open raise; pyarrow passes it on.
# Versions: adlfs 2026.8.0, fsspec 2026.9.0, azure-storage-blob 12.31.1, pyarrow 26.0.1 (PyPI), azurite 3.37.0 (npm).
# Needs: python3 ≥ 3.11 with venv, node, npm.
# Seen: what the lines at the end say; the blob is there all the time.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund azurite@3.37.0 > npm.log 2>&1
python3 -m venv venv
venv/bin/pip install --quiet adlfs==2026.8.0 fsspec==2026.9.0 azure-storage-blob==12.31.1 pyarrow==26.0.1 2> pip.log || { cat pip.log; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/azurite-blob --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" --location data > azurite.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import sys
import time
from datetime import datetime, timedelta, timezone

import adlfs
import pyarrow
import pyarrow.parquet
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobServiceClient, generate_container_sas

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


def files(permission, hours=1):
    ends = datetime.now(timezone.utc) + timedelta(hours=hours)
    sas = generate_container_sas("devstoreaccount1", "models", account_key=key, permission=permission, expiry=ends)
    text = f"BlobEndpoint={url};SharedAccessSignature={sas}"
    return adlfs.AzureBlobFileSystem(
        connection_string=text, assume_container_exists=True, skip_instance_cache=True, use_listings_cache=False
    )


def seen(call):
    try:
        return str(call())
    except Exception as error:
        return type(error).__name__


PATH = "models/checkpoint"
with files("rwl").open(PATH, "wb") as file:
    pyarrow.parquet.write_table(pyarrow.table({"step": [1]}), file)
for told, store in (("a good token", files("rwl")), ("may not read", files("wl")), ("has expired", files("rwl", -1))):
    print(
        f"{told}:",
        "isfile", seen(lambda: store.isfile(PATH)),
        "| in", seen(lambda: "checkpoint" in store.get_mapper("models")),
        "| ParquetFile", seen(lambda: pyarrow.parquet.ParquetFile(PATH, filesystem=store).metadata.num_rows),
        "| exists", seen(lambda: store.exists(PATH)),
        "| read_table", seen(lambda: pyarrow.parquet.read_table(PATH, filesystem=store).num_rows),
    )
PY
out=$(venv/bin/python try.py "$port")
echo "$out"
[ "$out" = "a good token: isfile True | in True | ParquetFile 1 | exists True | read_table 1
may not read: isfile False | in False | ParquetFile FileNotFoundError | exists HttpResponseError | read_table HttpResponseError
has expired: isfile False | in False | ParquetFile FileNotFoundError | exists HttpResponseError | read_table HttpResponseError" ]
