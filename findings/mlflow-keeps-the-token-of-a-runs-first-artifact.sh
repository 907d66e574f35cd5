#!/usr/bin/env bash
# mlflow takes the way into Azure from AZURE_STORAGE_CONNECTION_STRING, which may hold a SAS. A long training renews its
# token and the variable, and still logs with the first one: mlflow keeps, for each run and for the whole process, the client
# that it made for the run's first artifact, and a new MlflowClient takes that one too. Once the first token has ended, no
# checkpoint is logged any more, by a process whose environment has a good token. Another run reads the variable anew.
# Guessed before: the variable is read at each log_artifact.
# Versions: mlflow-skinny 3.17.2, azure-storage-blob 12.31.1 (PyPI). Needs: python3 ≥ 3.10 with venv. Storage
# is a stand-in that takes whatever comes.
# Seen: what the lines at the end say; the token was renewed after the first line.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet mlflow-skinny==3.17.2 azure-storage-blob==12.31.1 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

used = []


class Storage(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(201, b"")

    def do_GET(self):
        self.answer(200, b"weights")

    do_HEAD = do_GET

    def answer(self, status, data):
        used.append(parse_qs(urlsplit(self.path).query)["sig"][0])
        self.send_response(status)
        for name, value in {
            "ETag": '"0x1"', "Last-Modified": "Sat, 28 Nov 2026 00:00:00 GMT", "x-ms-blob-type": "BlockBlob",
            "Content-Length": str(len(data)), "Content-Type": "application/octet-stream",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
threading.Thread(target=server.serve_forever, daemon=True).start()


def give(token):
    """What renews a token: the process's environment has it from now on."""
    place = f"http://127.0.0.1:{server.server_port}/devstoreaccount1"
    said = f"BlobEndpoint={place};SharedAccessSignature=sv=2026-02-06&sr=c&sp=rwl&sig={token}"
    os.environ["AZURE_STORAGE_CONNECTION_STRING"] = said


def told(what, call):
    used.clear()
    call()
    print(f"{what}:", *sorted(set(used)))


os.environ |= {"MLFLOW_TRACKING_URI": Path("runs").absolute().as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
import mlflow

Path("weights").write_bytes(b"weights")
where = "wasbs://models@devstoreaccount1.blob.core.windows.net/runs"
experiment = mlflow.create_experiment("training", artifact_location=where)
give("first")
with mlflow.start_run(experiment_id=experiment) as run:
    one = run.info.run_id
    told("first artifact", lambda: mlflow.log_artifact("weights"))
    give("second")
    told("log_artifact", lambda: mlflow.log_artifact("weights"))
    told("log_dict", lambda: mlflow.log_dict({"step": 2}, "step.json"))
    told("a new MlflowClient", lambda: mlflow.MlflowClient().log_artifact(one, "weights"))
with mlflow.start_run(experiment_id=experiment):
    told("another run", lambda: mlflow.log_artifact("weights"))
PY
out=$(venv/bin/python try.py 2> mlflow.log) || { cat mlflow.log; exit 1; }
echo "$out"
[ "$out" = "first artifact: first
log_artifact: first
log_dict: first
a new MlflowClient: first
another run: second" ]
