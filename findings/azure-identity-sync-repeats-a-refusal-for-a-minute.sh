#!/usr/bin/env bash
# Entra answers 400 where an application is not in the tenant yet, has no consent, or a scope is wrong. Whoever mends that
# and asks the same ClientSecretCredential again gets the old error for 60 s: msal, below azure-identity, keeps answers of
# status 400 that long, and a 5xx for 5 s, and gives them out as if Entra had just said so. Nothing is sent, and no log
# line tells. The asynchronous class, which has no msal below it, asks each time; so does a new object. A wait "until the
# new application works" that polls one object each second is right on one of them only.
# Guessed before: each get_token after a failure asks Entra, in both classes.
# Versions: azure-identity 1.27.0, msal 1.39.0, aiohttp 3.14.5 (PyPI). Needs: python3 ≥ 3.9 with venv. Nothing is sent.
# Seen: after 400 and 503, sync fails again after 1 request in all; a new object and aio succeed. After 401, all do.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet azure-identity==1.27.0 msal==1.39.0 aiohttp==3.14.5 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import asyncio
import json
import logging

from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import AsyncHttpTransport, HttpTransport
from azure.identity import ClientSecretCredential
from azure.identity.aio import ClientSecretCredential as AioClientSecretCredential

logging.disable()
BASE = "https://login.microsoftonline.com/t"
# What Entra answers to the requests for a token to come, and how many there were.
status, asked = 200, 0


class Answer:
    content_type, reason = "application/json", "-"
    headers = {"Content-Type": "application/json"}

    def __init__(self, request):
        global asked
        self.request, self.status_code = request, 200
        if request.method == "POST":
            asked += 1
            self.status_code = status

    def text(self, encoding=None):
        if self.request.method == "GET":
            return json.dumps({f"{each}_endpoint": f"{BASE}/{each}" for each in ("authorization", "token")} | {"issuer": BASE})
        if self.status_code != 200:
            return json.dumps({"error": "unauthorized_client", "error_description": "AADSTS700016: not in the directory"})
        return json.dumps({"access_token": "a", "expires_in": 3600, "token_type": "Bearer"})

    def body(self):
        return self.text().encode()

    async def load_body(self):
        pass


class Sync(HttpTransport):
    def open(self): pass
    def close(self): pass
    def __exit__(self, *_): pass
    def send(self, request, **_): return Answer(request)


class Aio(AsyncHttpTransport):
    async def open(self): pass
    async def close(self): pass
    async def __aexit__(self, *_): pass
    async def send(self, request, **_): return Answer(request)


SCOPE = "https://storage.azure.com/.default"
options = {"disable_instance_discovery": True, "retry_total": 0}
names = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222", "a secret")


def sync(credential):
    try:
        return credential.get_token(SCOPE).token and "works"
    except ClientAuthenticationError:
        return "fails"


async def aio(credential):
    try:
        return (await credential.get_token(SCOPE)).token and "works"
    except ClientAuthenticationError:
        return "fails"


async def main():
    global status, asked
    for refusal in (400, 503, 401):
        status, asked = refusal, 0
        one = ClientSecretCredential(*names, transport=Sync(), **options)
        other = AioClientSecretCredential(*names, transport=Aio(), **options)
        assert sync(one) == await aio(other) == "fails" and asked == 2
        status = 200
        told = f"sync {sync(one)}, its requests {asked - 1}"
        new = ClientSecretCredential(*names, transport=Sync(), **options)
        print(f"{refusal}, then mended: {told}; new object {sync(new)}; aio {await aio(other)}")


asyncio.run(main())
PY
out=$(venv/bin/python try.py)
echo "$out"
[ "$out" = "400, then mended: sync fails, its requests 1; new object works; aio works
503, then mended: sync fails, its requests 1; new object works; aio works
401, then mended: sync works, its requests 2; new object works; aio works" ]
