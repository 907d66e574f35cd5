#!/usr/bin/env bash
# A download of azure-storage-blob raises amid a blob, since storage was busy for longer than its own retries last, and the program
# tries again, as one does with stamina or tenacity around `stream.readall()`. The second call ends well, and lacks what the first
# one had read: a checkpoint of 3 MiB comes as its last 2. `chunks()` and `read(n)` in a loop, which go on where they are,
# leave out as much. `stream.size` says what there should be. A new download_blob reads all of it.
# Guessed before: after a failure a stream gives what is still due, or fails each time.
# Versions: azure-storage-blob 12.31.1, aiohttp 3.14.5 (PyPI). Needs: python3 ≥ 3.10 with venv. Storage is a stand-in that answers
# 503 for a while.
# Seen: what the lines at the end say: how many of three MiB came, and whether it is what the blob begins with.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet azure-storage-blob==12.31.1 aiohttp==3.14.5 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import asyncio
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, aio

MIB = 1024 * 1024
BLOB = b"".join(bytes([number]) * MIB for number in (1, 2, 3))
busy = 0  # how many requests are answered with 503


class Storage(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global busy
        status, data, more = 503, b"", {"x-ms-error-code": "ServerBusy"}
        if busy:
            busy -= 1
        else:
            first, last = map(int, re.findall(r"\d+", self.headers["x-ms-range"]))
            last = min(last, len(BLOB) - 1)
            status, data = 206, BLOB[first : last + 1]
            more = {"Content-Range": f"bytes {first}-{last}/{len(BLOB)}", "ETag": '"0x1"', "x-ms-blob-type": "BlockBlob"}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "Content-Type": "application/octet-stream", **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}/account/models/weights?sv=2026-02-06&sr=c&sp=r&sig=none"
KEPT = {"max_single_get_size": MIB, "max_chunk_get_size": MIB, "retry_total": 1, "initial_backoff": 0, "increment_base": 0}
blob = BlobClient.from_blob_url(URL, **KEPT)


def fails_once():
    """Storage is busy for this request, and for the only retry."""
    global busy
    busy = 2


def told(what, got):
    print(f"{what}: {len(got) / MIB:g} MiB of {len(BLOB) / MIB:g}, the blob's beginning: {BLOB.startswith(got)}")


def again(call):
    """What a retry does: the call once more where it raised."""
    for _ in range(3):
        try:
            return call()
        except HttpResponseError:
            continue


def all_of(call):
    """What a loop of reads does, each with a retry around it."""
    got = b""
    while part := again(call):
        got += part
    return got


stream = blob.download_blob()
fails_once()
told("readall", again(stream.readall))

stream = blob.download_blob()
parts = stream.chunks()
got = next(parts)
fails_once()
told("chunks", got + all_of(lambda: next(parts, b"")))

stream = blob.download_blob()
got = stream.read(MIB // 2)
fails_once()
told("read", got + all_of(lambda: stream.read(MIB)))


async def asynchronous():
    async with aio.BlobClient.from_blob_url(URL, **KEPT) as client:
        stream = await client.download_blob()
        fails_once()
        for _ in range(2):
            try:
                got = await stream.readall()
            except HttpResponseError:
                continue
        told("readall of aio", got)


asyncio.run(asynchronous())
fails_once()
told("a new download", again(lambda: blob.download_blob().readall()))
PY
out=$(venv/bin/python try.py 2> try.log) || { cat try.log; exit 1; }
echo "$out"
[ "$out" = "readall: 2 MiB of 3, the blob's beginning: False
chunks: 2 MiB of 3, the blob's beginning: False
read: 2.5 MiB of 3, the blob's beginning: False
readall of aio: 2 MiB of 3, the blob's beginning: False
a new download: 3 MiB of 3, the blob's beginning: True" ]
