#!/usr/bin/env bash
# A blob is overwritten while somebody reads it: a checkpoint under a fixed name, by the next step or by a retried worker.
# Storage gives out an ETag with each answer, by which a reader can say which version its next range is to be of.
# azure-storage-blob says so within a download, and raises ResourceModifiedError. Files that are opened by adlfs, obstore (its
# fsspec store alike), pyarrow's AzureFileSystem or smart_open go on in the new version without a word: the beginning is of the
# old one, the rest of the new one, as long as it was when it was opened. What is read has never been written.
# (s3fs sends the ETag, and raises FileExpired.)
# Guessed before: all of them raise.
# Versions: adlfs 2026.8.0, fsspec 2026.9.0, obstore 0.12.1, pyarrow 26.0.1, smart_open 9.0.2, azure-storage-blob 12.31.1
# (PyPI), azurite 3.37.0 (npm). Needs: python3 ≥ 3.11 with venv, node, npm.
# Seen: what the lines at the end say: an error, or the version that the first and the last byte are of.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund azurite@3.37.0 > npm.log 2>&1
python3 -m venv venv
venv/bin/pip install --quiet adlfs==2026.8.0 fsspec==2026.9.0 obstore==0.12.1 pyarrow==26.0.1 smart-open==9.0.2 azure-storage-blob==12.31.1 2> pip.log || { cat pip.log; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/azurite-blob --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" --location data > azurite.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import sys
import time
from datetime import datetime, timedelta, timezone

import adlfs
import obstore
import pyarrow.fs
import smart_open
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobServiceClient, generate_container_sas

place = f"127.0.0.1:{sys.argv[1]}"
url = f"http://{place}/devstoreaccount1"
# The emulator's well-known account key, from its README.
key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
service = BlobServiceClient(url, credential=key, retry_total=0)
for _ in range(900):
    try:
        container = service.create_container("models")
        break
    except ServiceRequestError:
        time.sleep(0.1)
ends = datetime.now(timezone.utc) + timedelta(hours=1)
sas = generate_container_sas("devstoreaccount1", "models", account_key=key, permission="rl", expiry=ends)
PIECE, WHOLE = 1 << 20, 8 << 20
client = BlobServiceClient(url, credential=sas, max_single_get_size=PIECE, max_chunk_get_size=PIECE, retry_total=0)
files = adlfs.AzureBlobFileSystem(
    connection_string=f"BlobEndpoint={url};SharedAccessSignature={sas}", assume_container_exists=True
)
arrow = pyarrow.fs.AzureFileSystem(
    account_name="devstoreaccount1", sas_token="?" + sas, blob_storage_authority=place, blob_storage_scheme="http",
    dfs_storage_authority=place, dfs_storage_scheme="http",
)
rust = obstore.store.AzureStore(
    "models", account_name="devstoreaccount1", endpoint=url, sas_key=sas, client_options={"allow_http": True}
)


def write(name, letter):
    container.upload_blob(name, letter * WHOLE, overwrite=True)


def by_file(opened):
    def read(name):
        file = opened(name)
        yield bytes(file.read(PIECE))
        yield bytes(file.read(WHOLE - PIECE))

    return read


READERS = {
    "azure-storage-blob": lambda name: client.get_blob_client("models", name).download_blob().chunks(),
    "adlfs": by_file(lambda name: files.open(f"models/{name}", "rb", block_size=PIECE)),
    "obstore": by_file(lambda name: obstore.open_reader(rust, name, buffer_size=PIECE)),
    "pyarrow": by_file(lambda name: arrow.open_input_file(f"models/{name}")),
    "smart_open": by_file(
        lambda name: smart_open.open(f"azure://models/{name}", "rb", transport_params={"client": client, "buffer_size": PIECE})
    ),
}
for library, read in READERS.items():
    write(library, b"1")
    pieces = iter(read(library))
    seen = next(pieces)
    write(library, b"2")
    try:
        seen += b"".join(pieces)
        assert len(seen) == WHOLE
        print(f"{library}: from version {chr(seen[0])} to version {chr(seen[-1])}")
    except Exception as error:
        print(f"{library}:", type(error).__name__)
PY
out=$(venv/bin/python try.py "$port")
echo "$out"
[ "$out" = "azure-storage-blob: ResourceModifiedError
adlfs: from version 1 to version 2
obstore: from version 1 to version 2
pyarrow: from version 1 to version 2
smart_open: from version 1 to version 2" ]
