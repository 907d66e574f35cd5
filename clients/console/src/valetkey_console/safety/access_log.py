"""One line a request in the log: never its query, its form, its cookies or who asked."""

import logging
import time
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("valetkey_console.access")
_MOST = 200


class AccessLog:
    """Notes method, path, status and milliseconds. A query can hold the code of a log-in, so none is noted."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            path = quote(scope["path"], safe="/-._~:@")[:_MOST]
            log.info("%s %s %d %.0f ms", scope["method"], path, status, (time.perf_counter() - begun) * 1000)
