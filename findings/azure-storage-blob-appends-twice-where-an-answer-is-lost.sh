#!/usr/bin/env bash
# An append reaches storage, and its answer is lost: a cut connection, a load balancer that gives up. azure-storage-blob sends
# the request again, though append_block has no condition that would tell storage that it has this piece, so the blob has it
# twice, and the call ends well. adlfs appends by it (mode "ab"): a log, or lines of metrics, has a step twice. upload_blob
# with blob_type "AppendBlob" says at which length it appends, and does not.
# Where a condition is sent, the second attempt meets what the first one did: upload_blob (overwrite=False) raises
# ResourceExistsError of the blob that it made itself, so who takes a blob for a lock thinks that another has it, and nobody
# works; delete_blob raises ResourceNotFoundError of a blob that it deleted.
# Guessed before: an append is not sent again; a create and a delete end well.
# Known of other SDKs and tools on them (Azure/azure-sdk-for-go#24027, distribution/distribution#4571).
# Versions: azure-storage-blob 12.31.1, adlfs 2026.8.0, fsspec 2026.9.0 (PyPI), azurite 3.37.0 (npm).
# Needs: python3 ≥ 3.10 with venv, node, npm.
# Seen: what the lines at the end say. One answer was lost each time.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund azurite@3.37.0 > npm.log 2>&1
python3 -m venv venv
venv/bin/pip install --quiet azure-storage-blob==12.31.1 adlfs==2026.8.0 fsspec==2026.9.0 2> pip.log || { cat pip.log; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node_modules/.bin/azurite-blob --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" --location data > azurite.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import contextlib
import socket
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

import adlfs
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobServiceClient, generate_container_sas

PORT = int(sys.argv[1])
# The emulator's well-known account key, from its README.
key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
service = BlobServiceClient(f"http://127.0.0.1:{PORT}/devstoreaccount1", credential=key, retry_total=0)
for _ in range(900):
    try:
        container = service.create_container("runs")
        break
    except ServiceRequestError:
        time.sleep(0.1)


class Relay:
    """Stands before the emulator; loses the answer to the next request that has a word in its head."""

    def __init__(self, port):
        self.port, self.word, self.seen = port, None, 0
        listener = socket.create_server(("127.0.0.1", 0))
        self.place = "127.0.0.1:%d" % listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", self.port))
            lost = threading.Event()
            threading.Thread(target=self.ask, args=(client, server, lost), daemon=True).start()
            threading.Thread(target=self.answer, args=(client, server, lost), daemon=True).start()

    def ask(self, client, server, lost):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.word and self.word in data:
                    self.word = None
                    lost.set()
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def answer(self, client, server, lost):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if lost.is_set():  # the emulator has done what it was asked to
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)


relay = Relay(PORT)
url = f"http://{relay.place}/devstoreaccount1"
ends = datetime.now(timezone.utc) + timedelta(hours=1)
sas = generate_container_sas("devstoreaccount1", "runs", account_key=key, permission="racwdl", expiry=ends)
client = BlobServiceClient(url, credential=sas, initial_backoff=0.1, increment_base=0.1).get_container_client("runs")
files = adlfs.AzureBlobFileSystem(
    connection_string=f"BlobEndpoint={url};SharedAccessSignature={sas}", assume_container_exists=True
)


def seen(call):
    try:
        call()
        return "ends well"
    except Exception as error:
        return type(error).__name__


def append_block(name):
    blob = client.get_blob_client(name)
    blob.create_append_blob()
    relay.word = b"comp=appendblock"
    blob.append_block(b"step 1\n")


def upload_blob(name):
    relay.word = b"comp=appendblock"
    client.upload_blob(name, b"step 1\n", blob_type="AppendBlob")


def by_adlfs(name):
    relay.word = b"comp=appendblock"
    with files.open(f"runs/{name}", "ab") as file:
        file.write(b"step 1\n")


for each in (append_block, upload_blob, by_adlfs):
    print(f"{each.__name__}:", seen(lambda: each(each.__name__)), container.download_blob(each.__name__).readall().split(b"\n")[:-1])


def create():
    relay.word = b"PUT "
    client.upload_blob("lock", b"mine")


def delete():
    relay.word = b"DELETE "
    client.delete_blob("lock")


print("create:", seen(create), "and the blob says", container.download_blob("lock").readall().decode())
print("delete:", seen(delete), "and the blob is there" if container.get_blob_client("lock").exists() else "and the blob is gone")
PY
out=$(venv/bin/python try.py "$port")
echo "$out"
[ "$out" = "append_block: ends well [b'step 1', b'step 1']
upload_blob: ends well [b'step 1']
by_adlfs: ends well [b'step 1', b'step 1']
create: ResourceExistsError and the blob says mine
delete: ResourceNotFoundError and the blob is gone" ]
