"""Microsoft Graph over HTTP: who may come in, and which request is which."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import jwt
from aiohttp import web

from valetkey_devstack.control_plane import graph
from valetkey_devstack.control_plane.entra import Entra
from valetkey_devstack.control_plane.faults import Faults, Step
from valetkey_devstack.control_plane.graph import Graph, GraphError

_Do = Callable[[str, Mapping[str, Any], web.Request], Awaitable[web.StreamResponse]]


class GraphRoutes:
    """Serves `application` below `graph.PATH`, to bearers of tokens that `entra` made for Graph."""

    def __init__(self, entra: Entra, application: Graph, faults: Faults, audiences: Callable[[], set[str]]) -> None:
        self._entra = entra
        self._graph = application
        self._faults = faults
        self._audiences = audiences

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Adds the routes."""
        # The name is one segment or two: applications(appId='…') or applications/…
        name = graph.PATH + r"/v1.0/{name:applications[^/]*(?:/[0-9a-f-]{36})?}"
        router.add_get(name, self._guarded("application", self._look))
        router.add_post(f"{name}/addPassword", self._guarded("add-password", self._add))
        router.add_post(f"{name}/removePassword", self._guarded("remove-password", self._remove))

    def _guarded(self, step: Step, do: _Do) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            met = await self._faults.meet(step, request)
            if isinstance(met, web.StreamResponse):
                return met
            try:
                if met is not None:
                    status, headers = met
                    code, text = graph.PLANNED.get(status, graph.PLANNED[503])
                    return web.json_response(GraphError(status, code, text).body(), status=status, headers=headers)
                answer = await do(request.match_info["name"], self._token(request), request)
            except GraphError as error:
                return web.json_response(error.body(), status=error.status)
            return await self._faults.served(step, request, answer)

        return guarded

    def _token(self, request: web.Request) -> Mapping[str, Any]:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            return self._entra.check(token if scheme.lower() == "bearer" else "", self._audiences())
        except jwt.ExpiredSignatureError:
            text = "Lifetime validation failed, the token is expired."
        except jwt.InvalidAudienceError:
            text = "Access token validation failure. Invalid audience."
        except jwt.InvalidTokenError:
            text = "Access token validation failure."
        raise GraphError(401, "InvalidAuthenticationToken", text)

    async def _look(self, name: str, token: Mapping[str, Any], _request: web.Request) -> web.StreamResponse:
        return web.json_response(self._graph.application(name, token))

    async def _add(self, name: str, token: Mapping[str, Any], request: web.Request) -> web.StreamResponse:
        return web.json_response(self._graph.add_password(name, token, await _body(request)))

    async def _remove(self, name: str, token: Mapping[str, Any], request: web.Request) -> web.StreamResponse:
        self._graph.remove_password(name, token, await _body(request))
        return web.Response(status=204)


async def _body(request: web.Request) -> Any:
    try:
        return await request.json()
    except json.JSONDecodeError:
        raise GraphError(400, "BadRequest", "Unable to read JSON request payload.") from None
