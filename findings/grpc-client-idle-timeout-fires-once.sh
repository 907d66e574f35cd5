#!/usr/bin/env bash
# `grpc.client_idle_timeout_ms` closes a channel's connection after the first time of rest, and never again.
# A client that relies on it, so that no connection rests longer than load balancers remember it (Azure's: 240 s), is
# safe once: after the second rest its call goes over a connection that may be forgotten.
# Guessed before: the connection is closed each time that the channel has been idle for so long.
# Version: grpcio 1.85.1 (PyPI). Needs: python3 ≥ 3.9 with venv, Linux (counts the sockets of its own process).
# Seen, with 1,000 ms and rests of 4 s: one connection open during calls; 0 after the first rest; 1 after each later one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet grpcio==1.85.1 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import os, time
from concurrent import futures
from pathlib import Path
import grpc

class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)

server = grpc.server(futures.ThreadPoolExecutor(2), handlers=(Echo(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.client_idle_timeout_ms", 1000)])
call = channel.unary_unary("/echo.Echo/Say")

def connections() -> int:
    """Returns how many established connections lead to the server's port."""
    mine = {os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
    lines = [line for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    rows = [line.split() for line in lines]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" and f"socket:[{row[9]}]" in mine for row in rows)

seen = []
for _ in range(4):
    call(b"x", wait_for_ready=True)
    during = connections()
    time.sleep(4)
    seen.append((during, connections()))
print(seen)
PY
out=$(venv/bin/python try.py)
echo "$out"
[ "$out" = "[(1, 0), (1, 1), (1, 1), (1, 1)]" ]
