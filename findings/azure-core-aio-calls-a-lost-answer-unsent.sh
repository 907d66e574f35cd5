#!/usr/bin/env bash
# A server reads a POST in full, and its connection ends before it has answered. The synchronous pipeline of azure-core
# raises ServiceResponseError: the request was sent, its answer is lost. The asynchronous one, over aiohttp, raises
# ServiceRequestError for the very same cut, of which its documentation says "No request was sent". Whoever repeats what
# was never sent, as a call that makes a password or a key, makes two.
# Guessed before: both tell a lost answer from a request that was never sent; and, wrongly too, that the asynchronous
# retry policy would send the POST again: it looks at the method in both cases, and sends it once.
# Versions: azure-core 1.41.0, requests 2.34.2, aiohttp 3.14.5 (PyPI). Needs: python3 ≥ 3.9 with venv.
# Seen: one POST reached the server from each; ServiceResponseError and ServiceRequestError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet azure-core==1.41.0 requests==2.34.2 aiohttp==3.14.5 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import asyncio, socket, threading
from azure.core import AsyncPipelineClient, PipelineClient
from azure.core.pipeline.policies import AsyncRetryPolicy, RetryPolicy
from azure.core.rest import HttpRequest

listener = socket.create_server(("127.0.0.1", 0))
url = f"http://127.0.0.1:{listener.getsockname()[1]}"
posts = 0

def serve():
    """Reads each request to its end, and hangs up."""
    global posts
    while True:
        connection, _ = listener.accept()
        text = b""
        while not text.endswith(b"\r\n\r\n{}"):
            piece = connection.recv(4096)
            if not piece:
                break
            text += piece
        posts += text.startswith(b"POST ")
        connection.close()

threading.Thread(target=serve, daemon=True).start()
request = lambda: HttpRequest("POST", url, json={})
fast = {"retry_backoff_factor": 0.01}

def sync():
    with PipelineClient(url, policies=[RetryPolicy(**fast)]) as client:
        try:
            client.send_request(request())
        except Exception as error:
            return type(error).__name__

async def aio():
    async with AsyncPipelineClient(url, policies=[AsyncRetryPolicy(**fast)]) as client:
        try:
            await client.send_request(request())
        except Exception as error:
            return type(error).__name__

print("sync:", sync(), posts)
posts = 0
print("aio:", asyncio.run(aio()), posts)
PY
out=$(venv/bin/python try.py)
echo "$out"
[ "$out" = "sync: ServiceResponseError 1
aio: ServiceRequestError 1" ]
