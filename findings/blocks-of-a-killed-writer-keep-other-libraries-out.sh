#!/usr/bin/env bash
# A process is killed while it writes a blob in blocks; the job is begun again, and writes that blob with another library.
# Storage wants ids of one length beside each other (documented of Put Block) and keeps what was never committed for a week;
# each library has a length of its own, adlfs and obstore the same one by chance. So the second writer is refused each time with
# InvalidBlobOrBlock (400), "the specified blob or block content is invalid", which names neither the blocks nor their writer,
# and a listing shows no blob. None of them clears the place, or tells what is the matter.
# Guessed before: what a writer left who died is no matter to others.
# Versions: azure-storage-blob 12.31.1, adlfs 2026.8.0, fsspec 2026.9.0, obstore 0.12.1, pyarrow 26.0.1, smart_open 9.0.2
# (PyPI), azurite 3.37.0 (npm). Needs: python3 ≥ 3.11 with venv, node, npm, Linux.
# Seen: what the lines at the end say; some minutes, for each of them tries again a few times.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund azurite@3.37.0 > npm.log 2>&1
python3 -m venv venv
venv/bin/pip install --quiet azure-storage-blob==12.31.1 adlfs==2026.8.0 fsspec==2026.9.0 obstore==0.12.1 pyarrow==26.0.1 smart-open==9.0.2 2> pip.log || { cat pip.log; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/azurite-blob --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" --location data > azurite.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import contextlib
import os
import signal
import sys
import threading
import time
from datetime import datetime, timezone
from multiprocessing import get_context

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
ends = datetime(2099, 1, 1, tzinfo=timezone.utc)
sas = generate_container_sas("devstoreaccount1", "models", account_key=key, permission="rwl", expiry=ends)
service = BlobServiceClient(url, credential=key, retry_total=0)
BLOCK = 12 << 20


def azure_storage_blob(name, pieces):
    client = BlobServiceClient(url, credential=sas, max_block_size=BLOCK, retry_total=0)
    client.get_blob_client("models", name).upload_blob(pieces, overwrite=True)


def by_adlfs(name, pieces):
    text = f"BlobEndpoint={url};SharedAccessSignature={sas}"
    files = adlfs.AzureBlobFileSystem(connection_string=text, assume_container_exists=True)
    copy(files.open(f"models/{name}", "wb", block_size=BLOCK), pieces)


def by_obstore(name, pieces):
    store = obstore.store.AzureStore(
        "models", account_name="devstoreaccount1", endpoint=url, sas_key=sas, client_options={"allow_http": True}
    )
    copy(obstore.open_writer(store, name, buffer_size=BLOCK), pieces)


def by_pyarrow(name, pieces):
    files = pyarrow.fs.AzureFileSystem(
        account_name="devstoreaccount1", sas_token="?" + sas, blob_storage_authority=place, blob_storage_scheme="http",
        dfs_storage_authority=place, dfs_storage_scheme="http",
    )
    copy(files.open_output_stream(f"models/{name}"), pieces)


def by_smart_open(name, pieces):
    client = BlobServiceClient(url, credential=sas, retry_total=0)
    copy(smart_open.open(f"azure://models/{name}", "wb", transport_params={"client": client, "min_part_size": BLOCK}), pieces)


def copy(file, pieces):
    for piece in pieces:
        file.write(piece)
    file.close()


def killed(name, together):
    """Gives blocks until one is with storage; when all threads are so far, the process is killed, as for its memory."""
    yield b"o" * BLOCK
    blob = service.get_blob_client("models", name)
    for _ in range(300):
        with contextlib.suppress(ResourceNotFoundError):  # no block at all yet
            if blob.get_block_list("uncommitted")[1]:
                together.wait()
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)
        yield b"o" * BLOCK


LIBRARIES = {
    "azure-storage-blob": azure_storage_blob, "adlfs": by_adlfs, "obstore": by_obstore, "pyarrow": by_pyarrow,
    "smart_open": by_smart_open,
}


def die(dead):
    together = threading.Barrier(len(LIBRARIES))
    writers = [
        threading.Thread(target=LIBRARIES[dead], args=(name, killed(name, together)))
        for name in (f"{dead}-{alive}" for alive in LIBRARIES)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()


def seen(library, name):
    try:
        LIBRARIES[library](name, iter([b"n" * BLOCK] * 2))
    except Exception as error:
        return "refused" if "InvalidBlobOrBlock" in str(error) else type(error).__name__
    return "writes"


if __name__ == "__main__":
    for _ in range(900):
        try:
            container = service.create_container("models")
            break
        except ServiceRequestError:
            time.sleep(0.1)
    for dead in LIBRARIES:
        child = get_context("spawn").Process(target=die, args=(dead,))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL, (dead, child.exitcode)
        print(f"{dead} died:", ", ".join(f"{alive} {seen(alive, f'{dead}-{alive}')}" for alive in LIBRARIES), flush=True)
PY
out=$(venv/bin/python try.py "$port" 2> try.log) || { cat try.log; exit 1; }
echo "$out"
[ "$out" = "azure-storage-blob died: azure-storage-blob writes, adlfs refused, obstore refused, pyarrow refused, smart_open refused
adlfs died: azure-storage-blob refused, adlfs writes, obstore writes, pyarrow refused, smart_open refused
obstore died: azure-storage-blob refused, adlfs writes, obstore writes, pyarrow refused, smart_open refused
pyarrow died: azure-storage-blob refused, adlfs refused, obstore refused, pyarrow writes, smart_open refused
smart_open died: azure-storage-blob refused, adlfs refused, obstore refused, pyarrow refused, smart_open writes" ]
