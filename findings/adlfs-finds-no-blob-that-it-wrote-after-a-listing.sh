#!/usr/bin/env bash
# A program lists a folder by adlfs, writes another blob into it by the same file system, and opens that. adlfs keeps listings, and
# pipe_file is to drop the one that is no longer true, but drops that of a path without its container, which there is none of: so
# the blob is neither listed nor opened, though it is there, until somebody lists anew. open(…, "wb") drops the right one.
# mv of a folder copies all that is in it, fails at the folder itself, which is no blob, and removes nothing.
# Ranges from the end, which cat_file takes by fsspec's documentation (zarr reads shards so), raise.
# Guessed before: what was written is found; a folder moves; a range is a slice.
# Versions: adlfs 2026.8.0, fsspec 2026.9.0, azure-storage-blob 12.31.1 (PyPI), azurite 3.37.0 (npm).
# Needs: python3 ≥ 3.11 with venv, node, npm.
# Seen: what the lines at the end say.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund azurite@3.37.0 > npm.log 2>&1
python3 -m venv venv
venv/bin/pip install --quiet adlfs==2026.8.0 fsspec==2026.9.0 azure-storage-blob==12.31.1 2> pip.log || { cat pip.log; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/azurite-blob --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" --location data > azurite.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import sys
import time

import adlfs
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobServiceClient

url = f"http://127.0.0.1:{sys.argv[1]}/devstoreaccount1"
# The emulator's well-known account key, from its README.
key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
service = BlobServiceClient(url, credential=key, retry_total=0)
for _ in range(900):
    try:
        container = service.create_container("runs")
        break
    except ServiceRequestError:
        time.sleep(0.1)
files = adlfs.AzureBlobFileSystem(
    connection_string=f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint={url}"
)


def seen(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


def blobs():
    return sorted(blob.name for blob in container.list_blobs())


files.pipe_file("runs/a/1", b"one")
files.ls("runs/a")
files.pipe_file("runs/a/2", b"two")
print("written after a listing:", seen(lambda: files.open("runs/a/2", "rb").read()), "listed:", files.ls("runs/a", detail=False))
print("there:", blobs())
print("folder moved:", seen(lambda: files.mv("runs/a", "runs/b", recursive=True)), "there:", blobs())
print("the last byte:", seen(lambda: files.cat_file("runs/a/1", -1)))
PY
out=$(venv/bin/python try.py "$port")
echo "$out"
[ "$out" = "written after a listing: FileNotFoundError listed: ['runs/a/1']
there: ['a/1', 'a/2']
folder moved: FileNotFoundError there: ['a/1', 'a/2', 'b/1', 'b/2']
the last byte: ValueError" ]
