#!/usr/bin/env bash
# Azure's library keeps `sig` of a SAS out of its logs. Who watches the HTTP below it may not. sentry-sdk, as it comes and
# with send_default_pii off, puts the query of each request into breadcrumbs and spans as http.query: an error that follows
# minutes later takes the whole token along to Sentry, of azure-storage-blob's synchronous client (http.client) and of its
# asynchronous one (aiohttp). OpenTelemetry's conventions have `sig` redacted; its instrumentations of requests and aiohttp
# do so, that of urllib3, on which requests stands, does not, and http.url of each span holds the token.
# Documented of Sentry: that query strings are sent, among what it collects.
# Guessed before: Sentry leaves queries out unless told to send personal data; all of OpenTelemetry's redact.
# Versions: sentry-sdk 2.75.0, opentelemetry-sdk 1.45.1, opentelemetry-instrumentation-requests 0.66b1, -urllib3 0.66b1,
# -aiohttp-client 0.66b1, azure-storage-blob 12.31.1, aiohttp 3.14.5, requests 2.34.2, urllib3 2.8.0 (PyPI).
# Needs: python3 ≥ 3.10 with venv. Nothing leaves the machine; storage is a stand-in.
# Seen: what the lines at the end say.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet sentry-sdk==2.75.0 opentelemetry-sdk==1.45.1 opentelemetry-instrumentation-requests==0.66b1 \
  opentelemetry-instrumentation-urllib3==0.66b1 opentelemetry-instrumentation-aiohttp-client==0.66b1 \
  azure-storage-blob==12.31.1 aiohttp==3.14.5 requests==2.34.2 urllib3==2.8.0 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from azure.storage.blob import BlobClient
from azure.storage.blob.aio import BlobClient as AioBlobClient
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Storage(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        for name, value in {"Content-Length": "7", "ETag": '"0x1"', "x-ms-blob-type": "BlockBlob"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
threading.Thread(target=server.serve_forever, daemon=True).start()
SIGNATURE = "c2lnbmF0dXJl"
BLOB = f"http://127.0.0.1:{server.server_port}/devstoreaccount1", "models", "weights"
TOKEN = f"sv=2026-02-06&sr=c&sp=r&se=2099-01-01T00%3A00%3A00Z&sig={SIGNATURE}"


def sync():
    with BlobClient(*BLOB, credential=TOKEN) as blob:
        blob.get_blob_properties()


def aio():
    async def ask():
        async with AioBlobClient(*BLOB, credential=TOKEN) as blob:
            await blob.get_blob_properties()

    asyncio.run(ask())


def told(sent):
    return "the signature" if SIGNATURE in sent else "no signature"


exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
for what, instrumentor, call in (
    ("requests", RequestsInstrumentor(), sync), ("aiohttp", AioHttpClientInstrumentor(), aio), ("urllib3", URLLib3Instrumentor(), sync)
):
    exporter.clear()
    instrumentor.instrument(tracer_provider=provider)
    call()
    instrumentor.uninstrument()
    (span,) = exporter.get_finished_spans()
    print(f"OpenTelemetry, {what}:", told(str(dict(span.attributes))))

import sentry_sdk  # here, for it changes http.client

sent = []


class Kept(sentry_sdk.transport.Transport):
    def capture_envelope(self, envelope):
        sent.extend(str(item.payload.json) for item in envelope.items)


sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Kept)
for call in (sync, aio):
    sent.clear()
    with sentry_sdk.isolation_scope():
        call()
        sentry_sdk.capture_message("something failed, much later")
    sentry_sdk.flush()
    print(f"Sentry, {call.__name__}:", told("".join(sent)))
PY
out=$(venv/bin/python try.py)
echo "$out"
[ "$out" = "OpenTelemetry, requests: no signature
OpenTelemetry, aiohttp: no signature
OpenTelemetry, urllib3: the signature
Sentry, sync: the signature
Sentry, aio: the signature" ]
