#!/usr/bin/env bash
# daft reads one blob of Azure by its name. Of a folder or a pattern it finds nothing, and says FileNotFoundError of blobs that are
# there, in both of its spellings, for it lists names that begin with a slash, as none does. (With an endpoint of its own here,
# an emulator's; by the account's name alone it was not tried.)
# Guessed before: read_parquet("az://CONTAINER/FOLDER/*.parquet") reads the folder, as of S3 and a disk.
# Versions: daft 0.7.26, pyarrow 25.0.1, azure-storage-blob 12.31.1 (PyPI), azurite 3.37.0 (npm).
# Needs: python3 ≥ 3.11 with venv, node, npm.
# Seen: what the lines at the end say; the prefix that storage was asked for is from its own log.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund azurite@3.37.0 > npm.log 2>&1
python3 -m venv venv
venv/bin/pip install --quiet daft==0.7.26 pyarrow==25.0.1 azure-storage-blob==12.31.1 2> pip.log || { cat pip.log; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/azurite-blob --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" --location data > azurite.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import sys
import time
from pathlib import Path

import daft
import pyarrow
import pyarrow.parquet
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobServiceClient
from daft.io import AzureConfig, IOConfig

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
pyarrow.parquet.write_table(pyarrow.table({"step": [1, 2]}), "1.parquet")
content = Path("1.parquet").read_bytes()
container.upload_blob("runs/1.parquet", content)
Path("runs").mkdir()
Path("runs/1.parquet").write_bytes(content)
there = AzureConfig(storage_account="devstoreaccount1", access_key=key, endpoint_url=url, use_ssl=False)


def rows(place):
    try:
        return daft.read_parquet(place, io_config=IOConfig(azure=there)).count_rows()
    except Exception as error:
        return type(error).__name__


print("one blob:", rows("az://models/runs/1.parquet"))
for place in ("az://models/runs/*.parquet", "az://models/runs/", "abfs://models/runs/*.parquet", "runs/*.parquet"):
    print(f"{place}:", rows(place))
print("there:", *container.list_blob_names(name_starts_with="runs/"))
PY
out=$(DO_NOT_TRACK=1 DAFT_ANALYTICS_ENABLED=0 venv/bin/python try.py "$port" 2> try.log) || { cat try.log; exit 1; }
out="$out
asked for: $(grep -o 'prefix=%2F[^&]*' azurite.log | sort -u | tr '\n' ' ')"
echo "$out"
[ "$out" = "one blob: 2
az://models/runs/*.parquet: FileNotFoundError
az://models/runs/: FileNotFoundError
abfs://models/runs/*.parquet: FileNotFoundError
runs/*.parquet: 2
there: runs/1.parquet
asked for: prefix=%2F prefix=%2Fruns%2F " ]
