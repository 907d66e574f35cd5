#!/usr/bin/env bash
# Hugging Face's load_dataset keeps a table that it made of a blob, under a name in which the blob's ETag counts: "to reload the
# dataset from the cache only if the remote files haven't changed" (huggingface/datasets#2675). A blob that was written anew is
# noticed, and a table is made anew, but of the copy that was downloaded before: what is downloaded is kept by the URL alone. The
# training goes on with the old data, and the cache has it as that of the new blob, so that no later call mends it: not even
# download_mode="force_redownload", which finds another number of rows than that table had, and raises, unless told not to check.
# streaming=True reads the new blob.
# Guessed before: once the ETag is another one, the blob is downloaded again.
# Versions: datasets 5.2.0, adlfs 2026.8.0, fsspec 2026.9.0, azure-storage-blob 12.31.1 (PyPI), azurite 3.37.0 (npm).
# Needs: python3 ≥ 3.11 with venv, node, npm.
# Seen: what the lines at the end say.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund azurite@3.37.0 > npm.log 2>&1
python3 -m venv venv
venv/bin/pip install --quiet datasets==5.2.0 adlfs==2026.8.0 fsspec==2026.9.0 azure-storage-blob==12.31.1 2> pip.log || { cat pip.log; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/azurite-blob --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" --location data > azurite.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import sys
import time

import datasets
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobServiceClient

url = f"http://127.0.0.1:{sys.argv[1]}/devstoreaccount1"
# The emulator's well-known account key, from its README.
key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
service = BlobServiceClient(url, credential=key, retry_total=0)
for _ in range(900):
    try:
        container = service.create_container("data")
        break
    except ServiceRequestError:
        time.sleep(0.1)
way = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint={url}"


def load(**more):
    return datasets.load_dataset(
        "json", data_files="abfs://data/train.jsonl", storage_options={"connection_string": way}, split="train", **more
    )


def made(table):
    return table.cache_files[0]["filename"]


datasets.disable_progress_bars()
container.upload_blob("train.jsonl", b'{"step": 1}\n')
first = load()
print("first:", first["step"][:])
container.upload_blob("train.jsonl", b'{"step": 2}\n{"step": 3}\n', overwrite=True)
second = load()
print("written anew:", second["step"][:], "made anew:", made(second) != made(first))
print("streaming:", [row["step"] for row in load(streaming=True)])
try:
    print("force_redownload:", load(download_mode="force_redownload")["step"][:])
except Exception as error:
    print("force_redownload:", type(error).__name__)
print("no_checks besides:", load(download_mode="force_redownload", verification_mode="no_checks")["step"][:])
PY
out=$(HOME="$folder" HF_HOME="$folder/cache" HF_HUB_DISABLE_TELEMETRY=1 venv/bin/python try.py "$port" 2> try.log) || { cat try.log; exit 1; }
echo "$out"
[ "$out" = "first: [1]
written anew: [1] made anew: True
streaming: [2, 3]
force_redownload: NonMatchingSplitsSizesError
no_checks besides: [2, 3]" ]
