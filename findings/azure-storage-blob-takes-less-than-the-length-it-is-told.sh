#!/usr/bin/env bash
# upload_blob(stream, length=N) of azure-storage-blob is told how much there is: the Content-Length of a download, the size of an
# archive that a child process writes. Where the stream ends before, as a pipe does whose writer was killed, the blob is made of
# what came, in the place of the old one, and the call ends well: a part under the name of the whole, which no reader can tell
# from it. stage_block does the same.
# Guessed before: an error, and the old blob stays.
# Versions: azure-storage-blob 12.31.1 (PyPI). Needs: python3 ≥ 3.10 with venv. Storage is a stand-in that takes whatever comes.
# Seen: what the lines at the end say.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet azure-storage-blob==12.31.1 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import io
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from azure.storage.blob import BlobClient

MIB = 1024 * 1024
blocks, kept = {}, {"blob": b"old"}


class Storage(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        query = parse_qs(urlsplit(self.path).query)
        part = query.get("comp", [""])[0]
        if part == "block":
            blocks[query["blockid"][0]] = data
        elif part == "blocklist":
            kept["blob"] = b"".join(blocks[each] for each in re.findall("<Latest>(.*?)</Latest>", data.decode()))
        else:
            kept["blob"] = data
        self.send_response(201)
        for name, value in {"Content-Length": "0", "ETag": '"0x1"', "x-ms-request-server-encrypted": "true"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}/account/models/weights?sv=2026-02-06&sr=c&sp=rw&sig=none"
blob = BlobClient.from_blob_url(URL, max_single_put_size=MIB, max_block_size=MIB)


def child(size):
    """What a child process writes that ends too early."""
    return subprocess.Popen([sys.executable, "-c", f"print('x' * {size}, end='')"], stdout=subprocess.PIPE).stdout


for told, size, options in ((2 * MIB, MIB // 2, {}), (5 * MIB, 3 * MIB, {}), (5 * MIB, 3 * MIB, {"max_concurrency": 2})):
    kept["blob"] = b"old"
    blob.upload_blob(child(size), length=told, overwrite=True, **options)
    print(f"told {told / MIB:g} MiB, ends well, the blob has {len(kept['blob']) / MIB:g}", *options)
blocks.clear()
blob.stage_block("a", io.BytesIO(b"x" * 1000), length=2000)
print("block: told 2000 bytes, ends well, it has", *map(len, blocks.values()))
PY
out=$(venv/bin/python try.py)
echo "$out"
[ "$out" = "told 2 MiB, ends well, the blob has 0.5
told 5 MiB, ends well, the blob has 3
told 5 MiB, ends well, the blob has 3 max_concurrency
block: told 2000 bytes, ends well, it has 1000" ]
