"""Where managed identities get their tokens: the metadata service of virtual machines, and App Service's endpoint.

Source: https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token and
https://learn.microsoft.com/azure/app-service/overview-managed-identity
"""

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from valetkey_broker.model import Secret
from valetkey_devstack.control_plane.entra_error import EntraError

TokenOf = Callable[[str, str], dict[str, Any]]
_IMDS_PATH, _APP_SERVICE_PATH = "/metadata/identity/oauth2/token", "/msi/token"
_IMDS_VERSION, _APP_SERVICE_VERSION = "2018-02-01", "2019-08-01"


class ManagedIdentities:
    """The identities of one machine: the system's, if it has one, and those that were assigned to it.

    Speaks plain HTTP, as the real ones do. `environment` is what App Service sets for its programs, `requests` counts
    by path.
    """

    def __init__(self, token: TokenOf, system_client_id: str) -> None:
        """`token` gives the answer of Entra's for an audience and a client id. Raises EntraError, as it does."""
        self.url = ""
        self.system_client_id = system_client_id
        self.assigned: set[str] = set()
        self.requests: Counter[str] = Counter()
        self._header = Secret(secrets.token_urlsafe(24))
        self._token = token
        self._runner: web.AppRunner | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """Where and how programs ask, as App Service tells them."""
        return {"IDENTITY_ENDPOINT": f"{self.url}{_APP_SERVICE_PATH}", "IDENTITY_HEADER": self._header.reveal()}

    async def start(self, host: str, port: int) -> None:
        """Serves HTTP on `host` and `port` (0: any free one); `url` then says where."""
        app = web.Application()
        app.router.add_get(_IMDS_PATH, self._imds)
        app.router.add_get(_APP_SERVICE_PATH, self._app_service)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self.stop()
            raise
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stops serving; a second call does nothing."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _imds(self, request: web.Request) -> web.StreamResponse:
        self.requests[request.path] += 1
        if request.headers.get("Metadata", "").lower() != "true":
            return _refused("invalid_request", "Required metadata header not specified")
        if "X-Forwarded-For" in request.headers:
            return _refused("invalid_request", "Requests that came through a proxy are refused")
        return self._answer(request, _IMDS_VERSION)

    async def _app_service(self, request: web.Request) -> web.StreamResponse:
        self.requests[request.path] += 1
        given = request.headers.get("X-IDENTITY-HEADER", "")
        if not secrets.compare_digest(given.encode(), self._header.reveal().encode()):
            return web.json_response({"statusCode": 403, "message": "Forbidden"}, status=403)
        return self._answer(request, _APP_SERVICE_VERSION)

    def _answer(self, request: web.Request, version: str) -> web.StreamResponse:
        if request.query.get("api-version") != version:
            return _refused("bad_request_102", f"The api-version is not {version}")
        client_id = request.query.get("client_id", self.system_client_id)
        if not client_id or client_id not in {self.system_client_id, *self.assigned}:
            return _refused("invalid_request", "Identity not found")
        try:
            answer = self._token(request.query.get("resource", ""), client_id)
        except EntraError as error:
            return web.json_response(error.body(), status=400)
        # Of numbers it makes text.
        told = {name: answer[name] for name in ("access_token", "expires_in", "expires_on", "token_type")}
        body = {name: str(value) for name, value in told.items()}
        return web.json_response({**body, "client_id": client_id, "resource": request.query["resource"]})


def _refused(error: str, text: str) -> web.StreamResponse:
    return web.json_response({"error": error, "error_description": text}, status=400)
