"""Where a request comes from: forms of other sites, other names of this host, and embedded uses are refused."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_SAFE_METHODS = ("GET", "HEAD")
_OURS = ("same-origin", "none")


class OwnOrigin:
    """Lets through what changes something only from our own pages, and what shows something not into other sites.

    `origins` are ours, as browsers tell them. `hosts` are the Host headers that we have, empty where a proxy's are
    taken: another name that leads to a loopback address is a trick, for its page would count as ours.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str], hosts: Collection[str]) -> None:
        self._app = app
        self._origins = origins
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(scope["method"], Headers(scope=scope))):
            await PlainTextResponse(f"{refusal}\n", status_code=403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> str:
        if self._hosts and headers.get("host", "").lower() not in self._hosts:
            return "Refused: this host name is not the console's. Expected the address that the console printed."
        site = headers.get("sec-fetch-site", "")
        if method not in _SAFE_METHODS:
            if site == "same-origin" and headers.get("origin", "").lower() in self._origins:
                return ""
            return (
                "Refused: this did not come from a page of the console. Open the console and try again there. "
                "Behind a proxy, the setting outer_url has to be the address that people type."
            )
        if site and site not in _OURS and not _is_navigation(headers):
            return "Refused: another site asked for this page to use it in its own. Open the console itself."
        return ""


def _is_navigation(headers: Headers) -> bool:
    """Tells whether somebody followed a link; a frame or a picture is none."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
