#!/usr/bin/env bash
# fsspec's blockcache keeps the blocks of remote files that were read, and with check_files=True asks whether a file is still the
# one that they are of. Where it is another one, its blocks begin anew, until the cache's list is saved, which adds those of the
# old file to them again: what was read before comes from the old file, the rest from the new one. Who reads the footer of a
# checkpoint and then its middle gets two versions in one, without an error, and gets them in every later process, too.
# filecache, which keeps whole files, downloads the new one.
# Guessed before: check_files does for blocks what it does for files.
# Versions: fsspec 2026.9.0, adlfs 2026.8.0, azure-storage-blob 12.31.1 (PyPI), azurite 3.37.0 (npm).
# Needs: python3 ≥ 3.11 with venv, node, npm.
# Seen: what the lines at the end say.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund azurite@3.37.0 > npm.log 2>&1
python3 -m venv venv
venv/bin/pip install --quiet fsspec==2026.9.0 adlfs==2026.8.0 azure-storage-blob==12.31.1 2> pip.log || { cat pip.log; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/azurite-blob --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" --location data > azurite.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import sys
import time

import fsspec
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobServiceClient

url = f"http://127.0.0.1:{sys.argv[1]}/devstoreaccount1"
# The emulator's well-known account key, from its README.
key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
service = BlobServiceClient(url, credential=key, retry_total=0)
for _ in range(900):
    try:
        container = service.create_container("models")
        break
    except ServiceRequestError:
        time.sleep(0.1)
way = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint={url}"
BLOCK = 1024


def reader(kind):
    """As a new process has it."""
    return fsspec.filesystem(
        kind,
        target_protocol="abfs",
        target_options={"connection_string": way, "use_listings_cache": False, "skip_instance_cache": True},
        cache_storage=kind,
        check_files=True,
        skip_instance_cache=True,
    )


for kind in ("filecache", "blockcache"):
    container.upload_blob("weights", b"1" * 4 * BLOCK, overwrite=True)
    given = {"block_size": BLOCK} if kind == "blockcache" else {}
    with reader(kind).open("models/weights", "rb", **given) as file:
        file.seek(3 * BLOCK)
        file.read()
    container.upload_blob("weights", b"2" * 4 * BLOCK, overwrite=True)
    seen = []
    for _ in range(2):
        with reader(kind).open("models/weights", "rb", **given) as file:
            read = file.read()
        seen.append(" ".join(f"{read.count(each)} of {each.decode()}" for each in (b"1", b"2")))
    print(f"{kind}:", "; again: ".join(seen))
PY
out=$(venv/bin/python try.py "$port")
echo "$out"
[ "$out" = "filecache: 0 of 1 4096 of 2; again: 0 of 1 4096 of 2
blockcache: 1024 of 1 3072 of 2; again: 1024 of 1 3072 of 2" ]
