"""How much a request may send: forms are small."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bytes: a certificate file and some fields fit many times over.
MOST = 256 * 1024
_TOO_MUCH = f"More than {MOST} bytes were sent; a form has fewer."


class SmallBodies:
    """Refuses bodies of more than MOST bytes, said to be so large or found to be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "0")
        if not said.isdecimal() or int(said) > MOST:
            await PlainTextResponse(f"{_TOO_MUCH}\n", status_code=413)(scope, receive, send)
            return
        came = 0

        async def receive_some() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > MOST:
                raise HTTPException(413, _TOO_MUCH)  # told by whoever reads
            return message

        await self._app(scope, receive_some, send)
