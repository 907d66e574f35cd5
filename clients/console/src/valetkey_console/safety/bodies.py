"""How much a request may send, and in which form: forms are small, and their text is UTF-8."""

import re

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bytes: a certificate file and some fields fit many times over.
MOST = 256 * 1024
_TOO_MUCH = f"More than {MOST} bytes were sent; a form has fewer."
# What browsers send. Starlette decodes the fields of multipart forms by the charset that a request names, be it one
# that takes seconds for little, or none of text.
_FORM = re.compile(
    r"(?:application/x-www-form-urlencoded|multipart/form-data)"
    r"""(?: *; *(?:boundary=(?:[\w'+./-]{1,70}|"[\w'+./-]{1,70}")|charset=(?:utf-?8|"utf-?8")))*""",
    re.ASCII | re.IGNORECASE,
)
_NO_FORM = "This is no form; expected application/x-www-form-urlencoded or multipart/form-data, in UTF-8."


class SmallBodies:
    """Refuses bodies of more than MOST bytes, said to be so large or found to be, and what is no form in UTF-8."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        kinds = headers.getlist("content-type")
        if len(kinds) > 1 or not all(_FORM.fullmatch(kind) for kind in kinds):
            await PlainTextResponse(f"{_NO_FORM}\n", status_code=415)(scope, receive, send)
            return
        said = headers.get("content-length", "0")
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
