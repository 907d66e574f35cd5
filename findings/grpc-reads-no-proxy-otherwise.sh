#!/usr/bin/env bash
# One environment names the proxy and its exceptions for all programs. requests (as urllib, aiohttp, curl) reads the
# variables in small letters and in capitals, takes `*` for every host, and ports of entries. gRPC reads the names in small
# letters alone, as documented, and looks `*` and `host:port` up as if they were host names, which is not: beside one
# NO_PROXY its calls go through the proxy, and beside HTTPS_PROXY alone they do not.
# Guessed before: what requests reaches directly, gRPC does.
# Versions: grpcio 1.85.1, requests 2.34.2 (PyPI). Needs: python3 ≥ 3.9 with venv. What is asked for does not exist.
# Seen: what the lines at the end say.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet grpcio==1.85.1 requests==2.34.2 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import os
import socket
import threading

for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]
os.environ["GRPC_VERBOSITY"] = "NONE"

import grpc
import requests

HOST = "broker.invalid"
listener = socket.create_server(("127.0.0.1", 0))
proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
asked = 0


def refuse():
    """Stands in for a proxy: counts who comes, and hangs up."""
    global asked
    while True:
        connection, _ = listener.accept()
        connection.recv(4096)
        asked += 1
        connection.close()


threading.Thread(target=refuse, daemon=True).start()


def by_grpc():
    with grpc.secure_channel(f"dns:///{HOST}:8443", grpc.ssl_channel_credentials()) as channel:
        try:
            channel.unary_unary("/a.A/B")(b"", timeout=60)
        except grpc.RpcError:
            pass


def by_requests():
    try:
        requests.get(f"https://{HOST}:8443/", timeout=60)
    except requests.RequestException:
        pass


def way(call):
    before = asked
    call()
    return "proxy" if asked > before else "direct"


for said in (
    {"https_proxy": proxy},
    {"HTTPS_PROXY": proxy},
    {"https_proxy": proxy, "no_proxy": HOST},
    {"https_proxy": proxy, "NO_PROXY": HOST},
    {"https_proxy": proxy, "no_proxy": "*"},
    {"https_proxy": proxy, "no_proxy": f"{HOST}:8443"},
):
    os.environ.update(said)
    told = " ".join(name if value == proxy else f"{name}={value}" for name, value in said.items())
    print(f"{told}: requests {way(by_requests)}, gRPC {way(by_grpc)}")
    for name in said:
        del os.environ[name]
PY
out=$(venv/bin/python try.py)
echo "$out"
[ "$out" = "https_proxy: requests proxy, gRPC proxy
HTTPS_PROXY: requests proxy, gRPC direct
https_proxy no_proxy=broker.invalid: requests direct, gRPC direct
https_proxy NO_PROXY=broker.invalid: requests direct, gRPC proxy
https_proxy no_proxy=*: requests direct, gRPC proxy
https_proxy no_proxy=broker.invalid:8443: requests direct, gRPC proxy" ]
