#!/usr/bin/env bash
# AioHttpTransport(connection_verify=FILE) of azure-core builds a new SSL context for each request, and aiohttp takes a
# pooled connection again only for the same context: each request makes a connection and a handshake of its own, though
# one client stays open throughout. With connection_verify=True, and the same file in SSL_CERT_FILE, there is one.
# Guessed before: a transport that is open reuses its connections, whatever it trusts.
# Versions: azure-core 1.41.0, aiohttp 3.14.5; trustme 1.2.1 makes the certificate. Needs: python3 ≥ 3.10 with venv.
# Seen: 10 requests over 10 connections with a CA file; 10 requests over 1 connection by SSL_CERT_FILE.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet azure-core==1.41.0 aiohttp==3.14.5 trustme==1.2.1 2> pip.log || { cat pip.log; exit 1; }
# First, for aiohttp reads SSL_CERT_FILE as it is imported.
venv/bin/python - <<'PY'
import trustme

authority = trustme.CA()
authority.cert_pem.write_to_path("ca.pem")
authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path("server.pem")
PY
cat > try.py <<'PY'
import asyncio
import os
import ssl

from aiohttp import web
from azure.core.pipeline.transport import AioHttpTransport, HttpRequest

CA_FILE = os.environ["SSL_CERT_FILE"]


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("server.pem")
    peers = set()

    async def answer(request):
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text="x")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/"

    for told, verify, expected in (("a CA file", CA_FILE, 10), ("SSL_CERT_FILE", True, 1)):
        peers.clear()
        async with AioHttpTransport(connection_verify=verify) as transport:
            for _ in range(10):
                await (await transport.send(HttpRequest("GET", url))).load_body()
        print(f"{told}: 10 requests over {len(peers)} connections")
        assert len(peers) == expected, (told, len(peers))
    await runner.cleanup()


asyncio.run(main())
PY
SSL_CERT_FILE="$folder/ca.pem" venv/bin/python try.py
