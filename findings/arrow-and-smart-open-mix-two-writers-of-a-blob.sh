#!/usr/bin/env bash
# A worker is taken for dead, and another writes the same blob anew; the first one lives still. Storage gathers the blocks of
# a blob by their ids until somebody commits a list of them. pyarrow's AzureFileSystem numbers its blocks from 0, and
# smart_open names them by their offset, the same for each writer: the new worker commits, is told that all is well, and the
# blob holds the old one's first block and its own second one, under the length and type of a whole file. Ids of
# azure-storage-blob (known of its older versions: Azure/azure-sdk-for-python#26790), adlfs and obstore are random.
# Guessed before: who commits last has written the whole blob, whatever library it was.
# Versions: pyarrow 26.0.1, smart_open 9.0.2, adlfs 2026.8.0, obstore 0.12.1, azure-storage-blob 12.31.1 (PyPI),
# azurite 3.37.0 (npm). Needs: python3 ≥ 3.11 with venv, node, npm.
# Seen: what the lines at the end say. The new writer ends well each time; it writes 12 MiB at a time, the old one 11.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund azurite@3.37.0 > npm.log 2>&1
python3 -m venv venv
venv/bin/pip install --quiet pyarrow==26.0.1 smart-open==9.0.2 adlfs==2026.8.0 fsspec==2026.9.0 obstore==0.12.1 azure-storage-blob==12.31.1 2> pip.log || { cat pip.log; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/azurite-blob --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" --location data > azurite.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import contextlib
import sys
import time
from datetime import datetime, timedelta, timezone
from itertools import groupby

import adlfs
import obstore
import pyarrow.fs
import smart_open
from azure.core.exceptions import ResourceNotFoundError, ServiceRequestError
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
sas = generate_container_sas("devstoreaccount1", "models", account_key=key, permission="rwl", expiry=ends)
OLD, NEW = 11 << 20, 12 << 20  # sizes of what each writes at a time
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


def staged(name, size):
    """Waits until a block of that size is there."""
    for _ in range(300):
        with contextlib.suppress(ResourceNotFoundError):  # no block at all yet
            if any(block.size == size for block in container.get_blob_client(name).get_block_list("uncommitted")[1]):
                return
        time.sleep(0.1)
    raise TimeoutError(name)


def by_file(opened):
    """Both write their first block, the old one last; then the new one writes its second, and ends well."""

    def write(name):
        new, old = opened(name, NEW), opened(name, OLD)
        new.write(b"n" * NEW)
        staged(name, NEW)
        old.write(b"o" * OLD)
        staged(name, OLD)
        new.write(b"n" * NEW)
        new.close()
        return old  # held until the blob has been read: collected, it would be closed

    return write


def by_upload(name):
    def old():
        yield b"o" * OLD
        raise ConnectionError("the old one dies")

    def new():
        yield b"n" * NEW
        try:
            client(OLD).get_blob_client("models", name).upload_blob(old(), overwrite=True)
        except ConnectionError:
            staged(name, OLD)
        yield b"n" * NEW

    client(NEW).get_blob_client("models", name).upload_blob(new(), overwrite=True)


def client(block):
    return BlobServiceClient(url, credential=sas, max_block_size=block)


WRITERS = {
    "azure-storage-blob": by_upload,
    "adlfs": by_file(lambda name, block: files.open(f"models/{name}", "wb", block_size=block)),
    "obstore": by_file(lambda name, block: obstore.open_writer(rust, name, buffer_size=block, max_concurrency=1)),
    "pyarrow": by_file(lambda name, block: arrow.open_output_stream(f"models/{name}")),
    "smart_open": by_file(
        lambda name, block: smart_open.open(
            f"azure://models/{name}", "wb", transport_params={"client": client(block), "min_part_size": block}
        )
    ),
}
for library, write in WRITERS.items():
    held = write(library)
    data = container.download_blob(library).readall()
    print(f"{library}:", ", ".join(f"{len(list(run)) >> 20} MiB of the {'new' if chr(who) == 'n' else 'old'}" for who, run in groupby(data)))
PY
out=$(venv/bin/python try.py "$port")
echo "$out"
[ "$out" = "azure-storage-blob: 24 MiB of the new
adlfs: 24 MiB of the new
obstore: 24 MiB of the new
pyarrow: 11 MiB of the old, 12 MiB of the new
smart_open: 11 MiB of the old, 12 MiB of the new" ]
