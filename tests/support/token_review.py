"""A stand-in for the one call of a Kubernetes API server that Vault makes: the review of a service account's token."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web
from jwt import InvalidTokenError, PyJWT

from support.oidc import ISSUER, Signer
from valetkey_devstack.ca import make_ca
from valetkey_devstack.free_ports import free_port


class TokenReviewer:
    """Checks what an API server checks: who asks, signature, end and audience; says whose the token is.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
    """

    def __init__(self, directory: Path, signer: Signer, reviewer: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca = directory / "ca.pem"
        self.reviews: list[str] = []
        self._signer = signer
        self._reviewer = reviewer
        certificate, key = make_ca(directory, "API server CA").issue("api-server", directory)
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["TokenReviewer"]:
        """Serves while the context lasts."""
        app = web.Application()
        app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", self._review)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._tls).start()
            yield self
        finally:
            await runner.cleanup()

    async def _review(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self._reviewer}":
            raise web.HTTPForbidden
        review = await request.json()
        token, audiences = review["spec"]["token"], review["spec"].get("audiences") or [ISSUER]
        self.reviews.append(token)
        status: dict[str, Any]
        try:
            said = PyJWT().decode(
                token,
                self._signer.private.public_key(),
                algorithms=[self._signer.algorithm],
                audience=audiences,
                issuer=ISSUER,
            )
            account = said["kubernetes.io"]["serviceaccount"]
            status = {"authenticated": True, "audiences": audiences}
            status["user"] = {"username": said["sub"], "uid": account["uid"], "groups": ["system:serviceaccounts"]}
        except InvalidTokenError as error:
            status = {"authenticated": False, "error": f"[invalid bearer token, {error}]"}
        return web.json_response({**review, "status": status}, status=201)
