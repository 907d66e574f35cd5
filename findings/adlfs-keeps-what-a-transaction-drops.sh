#!/usr/bin/env bash
# "Nothing is to be written unless all of it is": fsspec has `with fs.transaction:` for that, for any file system. On a
# local disk it holds. adlfs takes it without a word and writes each blob as its file is closed: after an exception the
# blobs written so far are there, in place of those that were, and readers see them before the transaction has ended.
# The same of one blob: an exception inside of `with fs.open(path, "wb")` makes what was written so far the blob.
# Documented of fsspec: "not all implementations" have transactions; which, it does not say, nor does adlfs.
# (huggingface_hub's file system raises NotImplementedError.)
# Guessed before: adlfs drops the blobs, or refuses transactions; and a blob that was not finished leaves the old one.
# Versions: adlfs 2026.8.0, fsspec 2026.9.0, azure-storage-blob 12.31.1 (PyPI), azurite 3.37.0 (npm).
# Needs: python3 ≥ 3.10 with venv, node, npm.
# Seen: local: old, old. adlfs: new within the transaction and after it; and "ha" of "half" in place of "old".
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
import os
import sys
import time

import adlfs
import fsspec
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobServiceClient

url = f"http://127.0.0.1:{sys.argv[1]}/devstoreaccount1"
# The emulator's well-known account key, from its README.
key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
text = f"AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint={url}"
service = BlobServiceClient.from_connection_string(text, retry_total=0)
for _ in range(900):
    try:
        service.create_container("models")
        break
    except ServiceRequestError:
        time.sleep(0.1)


def seen(files, path):
    files.pipe(path, b"old")
    try:
        with files.transaction:
            with files.open(path, "wb") as file:
                file.write(b"new")
            within = files.cat(path)
            raise ValueError
    except ValueError:
        return within.decode(), files.cat(path).decode()


azure = adlfs.AzureBlobFileSystem(connection_string=text)
print("local:", *seen(fsspec.filesystem("file"), os.path.abspath("index")))
print("adlfs:", *seen(azure, "models/index"))
azure.pipe("models/weights", b"old")
try:
    with azure.open("models/weights", "wb") as file:
        file.write(b"ha")
        raise ValueError
except ValueError:
    print("one blob:", azure.cat("models/weights").decode())
PY
out=$(venv/bin/python try.py "$port")
echo "$out"
[ "$out" = "local: old old
adlfs: new new
one blob: ha" ]
