"""How much a request may send: forms are small."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bytes: a certificate file and some fields fit many times over.
MOST = 256 * 1024


class _TooMuchError(Exception):
    pass


class SmallBodies:
    """Refuses bodies of more than MOST bytes, said to be so large or found to be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = PlainTextResponse(f"Refused: more than {MOST} bytes were sent.\n", status_code=413)
        said = Headers(scope=scope).get("content-length", "0")
        if not said.isdecimal() or int(said) > MOST:
            await refused(scope, receive, send)
            return
        came, answering = 0, False

        async def receive_some() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > MOST:
                raise _TooMuchError
            return message

        async def send_noting(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            await self._app(scope, receive_some, send_noting)
        except _TooMuchError:
            if not answering:
                await refused(scope, receive, send)
