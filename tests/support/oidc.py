"""A Kubernetes-shaped issuer of tokens: its keys, its tokens of every kind, and its HTTPS server with faults."""

import asyncio
import base64
import contextlib
import gzip
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import InvalidTokenError, PyJWT
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.api_jws import PyJWS

from support.made_once import made_once
from valetkey_broker.ports import KeySourceError
from valetkey_devstack.ca import make_ca
from valetkey_devstack.free_ports import free_port

AUDIENCE = "valetkey"
SUBJECT = "system:serviceaccount:ml:trainer"
ISSUER = "https://kubernetes.default.svc.cluster.local"
# What the claims of a projected token are taken for; the first name holds a dot of its own.
KUBERNETES_ATTRIBUTES = {
    "namespace": ["kubernetes.io", "namespace"],
    "service-account": ["kubernetes.io", "serviceaccount", "name"],
}


@made_once
def private_key(kind: str, which: int = 0) -> Any:
    """Returns a key made once per process: `RSA`, `RSA-1024`, `P-256`, `P-384`, `Ed25519`; `which` tells them apart."""
    _ = which
    if kind.startswith("RSA"):
        return rsa.generate_private_key(public_exponent=65537, key_size=1024 if kind == "RSA-1024" else 2048)
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1() if kind == "P-256" else ec.SECP384R1())


_KINDS = {"RS": "RSA", "PS": "RSA", "ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519"}
_WRITERS: dict[str, Any] = {"RSA": RSAAlgorithm, "RSA-1024": RSAAlgorithm, "Ed25519": OKPAlgorithm}


@dataclass(frozen=True)
class Signer:
    """A key of an issuer."""

    kid: str = "one"
    algorithm: str = "RS256"
    which: int = 0
    kind: str = ""

    @property
    def private(self) -> Any:
        """The private key."""
        kind = self.kind or _KINDS.get(self.algorithm) or _KINDS[self.algorithm[:2]]
        return private_key(kind, self.which)

    def jwk(self, **more: Any) -> dict[str, Any]:
        """Returns the public key as an issuer shows it; a None leaves a member out."""
        kind = self.kind or _KINDS.get(self.algorithm) or _KINDS[self.algorithm[:2]]
        jwk = _WRITERS.get(kind, ECAlgorithm).to_jwk(self.private.public_key(), as_dict=True)
        full = {**jwk, "kid": self.kid, "use": "sig", "alg": self.algorithm, **more}
        return {name: value for name, value in full.items() if value is not None}


def claims(now: float | None = None, **more: Any) -> dict[str, Any]:
    """Returns the claims of a projected service-account token, good for an hour; a None leaves a claim out."""
    now = time.time() if now is None else now
    full = {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": [AUDIENCE],
        "exp": int(now) + 3600,
        "iat": int(now),
        "nbf": int(now),
        "kubernetes.io": {"namespace": "ml", "serviceaccount": {"name": "trainer", "uid": "1-2-3"}},
        **more,
    }
    return {name: value for name, value in full.items() if value is not None}


def mint(payload: Mapping[str, Any] | bytes, signer: Signer | None = None, **header: Any) -> str:
    """Returns a signed token; members of `header` that are None are left out."""
    signer = signer or Signer()
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    headers = {name: value for name, value in {"kid": signer.kid, **header}.items() if value is not None}
    return PyJWS().encode(raw, signer.private, algorithm=signer.algorithm, headers=headers)


def forge(payload: Mapping[str, Any], header: Mapping[str, Any], signature: bytes = b"") -> str:
    """Returns a token put together by hand, as no honest library would."""
    parts = json.dumps(header).encode(), json.dumps(payload).encode(), signature
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


class FakeKeySource:
    """Shows the keys it is given, and counts who asks."""

    def __init__(self, *signers: Signer) -> None:
        self.document: dict[str, Any] = {"keys": [signer.jwk() for signer in signers or (Signer(),)]}
        self.fail = False
        self.fetches = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def show(self, *signers: Signer) -> None:
        """Rotates to other keys."""
        self.document = {"keys": [signer.jwk() for signer in signers]}

    async def fetch(self) -> Mapping[str, Any]:
        self.fetches += 1
        await self.gate.wait()
        if self.fail:
            raise KeySourceError("away")
        return self.document

    async def close(self) -> None: ...


class IssuerServer:
    """The issuer's HTTPS server. `fault` makes it fail; `requests` holds the path and the authorization of each."""

    def __init__(self, directory: Path, path: str = "", *, port: int | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.url = f"https://127.0.0.1:{self.port}{path}"
        self.ca_file = directory / "ca.pem"
        self.signers = [Signer()]
        self.fault = ""
        # Of which audience a token of this issuer has to be that whoever asks shows, as a Kubernetes API server demands
        # it: its own default one. Nothing if empty, as with issuers that publish their keys.
        self.own_audience = ""
        self.jwks_uri = f"{self.url.rstrip('/')}/openid/v1/jwks"
        self.requests: list[tuple[str, str | None]] = []
        certificate, key = make_ca(directory, "issuer CA").issue("issuer", directory)
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)

    def mint(self, signer: Signer | None = None, **more: Any) -> str:
        """Returns a token of this issuer."""
        return mint(claims(**{"iss": self.url, **more}), signer or self.signers[0])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["IssuerServer"]:
        """Serves while the context lasts; may be entered again, on the same port."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._tls).start()
            yield self
        finally:
            await runner.cleanup()

    def _let_in(self, request: web.Request) -> None:
        """Answers as an API server: 403 to nobody in particular, 401 to tokens that are not for itself."""
        if not self.own_audience:
            return
        shown = request.headers.get("Authorization")
        if shown is None:
            raise web.HTTPForbidden
        try:
            PyJWT().decode(
                shown.removeprefix("Bearer "),
                self.signers[0].private.public_key(),
                algorithms=[self.signers[0].algorithm],
                audience=self.own_audience,
                issuer=self.url,
            )
        except InvalidTokenError:
            raise web.HTTPUnauthorized from None

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, request.headers.get("Authorization")))
        discovery = request.path.endswith("/.well-known/openid-configuration")
        kind = "application/json" if discovery else "application/jwk-set+json"
        if kind not in request.headers.get("Accept", kind):  # As strict as a Kubernetes API server.
            raise web.HTTPNotAcceptable
        self._let_in(request)
        if self.fault == "slow":
            await asyncio.sleep(30)
        if self.fault == "redirect":
            raise web.HTTPFound(f"{self.url}/elsewhere{request.path}")
        document: dict[str, Any] = {"keys": [signer.jwk() for signer in self.signers]}
        if discovery:
            document = {"issuer": self.url, "jwks_uri": self.jwks_uri}
            if self.fault == "other issuer":
                document["issuer"] += "/"
        elif self.fault == "no keys":
            document = {}
        answer = web.Response(
            status=503 if self.fault == "status" else 200,
            body=_BODIES.get(self.fault, json.dumps(document).encode()),
            content_type=kind,
        )
        if self.fault == "compressed":
            answer.headers["Content-Encoding"] = "gzip"
            answer.body = gzip.compress(json.dumps(document).encode())
        return answer


_BODIES = {"huge": b" " * 300_000 + b"{}", "not json": b"<html>", "a list": b"[]", "deep": b"[" * 100_000}
