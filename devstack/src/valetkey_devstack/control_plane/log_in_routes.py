"""The pages on which people log in at the stand-in for Entra, and the endpoint that gives device codes."""

from collections.abc import Mapping
from html import escape
from urllib.parse import urlencode

from aiohttp import web

from valetkey_devstack.control_plane.entra_error import EntraError
from valetkey_devstack.control_plane.log_ins import LogIns
from valetkey_devstack.control_plane.people import PEOPLE, Person

DEVICE_PAGE = "/common/oauth2/deviceauth"
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Stand-in for Entra</title>'
    "<style>body{{font:1rem sans-serif;margin:3rem}}button{{display:block;margin:.5rem 0;padding:.5rem 1rem}}</style>"
    "<h1>Stand-in for Microsoft Entra</h1>{}</html>"
)


class LogInRoutes:
    """Serves people of the tenant. Nobody proves who they are here: it is a stand-in, on loopback."""

    def __init__(self, log_ins: LogIns) -> None:
        self._log_ins = log_ins
        self._people = {person.user: person for person in PEOPLE}

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Adds the routes."""
        authorize = f"/{self._log_ins.tenant_id}/oauth2/v2.0/authorize"
        router.add_get(authorize, self._ask)
        router.add_post(authorize, self._answer)
        router.add_post(f"/{self._log_ins.tenant_id}/oauth2/v2.0/devicecode", self._device_code)
        router.add_get(DEVICE_PAGE, self._ask_for_code)
        router.add_post(DEVICE_PAGE, self._answer_code)

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        try:
            self._log_ins.check_redirect(query)
        except EntraError as error:
            return _page(f"<p>{escape(error.body()['error_description'])}</p>", status=400)
        try:
            self._log_ins.check_request(query)
        except EntraError as error:
            return _back(query, {key: error.body()[key] for key in ("error", "error_description")})
        return _page(f"<p>Who logs in to Valet Key?</p>{self._choice()}")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = await self._ask(request)
        if asked.status != 200:  # noqa: PLR2004 (refused)
            return asked
        person = self._chosen(await request.post())
        if person is None:
            text = "AADSTS65004: User declined to consent to access the app."
            return _back(request.query, {"error": "access_denied", "error_description": text})
        return _back(request.query, {"code": self._log_ins.code(request.query, person)})

    async def _device_code(self, request: web.Request) -> web.StreamResponse:
        posted = await request.post()
        form = {name: value for name, value in posted.items() if isinstance(value, str)}
        try:
            return web.json_response(self._log_ins.device(form, f"{request.scheme}://{request.host}{DEVICE_PAGE}"))
        except EntraError as error:
            return web.json_response(error.body(), status=error.status)

    async def _ask_for_code(self, _request: web.Request) -> web.StreamResponse:
        return _page(f"<p>Who logs in?</p>{self._choice('<p>Code: <input name=user_code autofocus></p>')}")

    async def _answer_code(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        person = self._chosen(form)
        if not self._log_ins.decide(str(form.get("user_code", "")), person):
            return _page("<p>AADSTS70018: there is no such code, or it has expired.</p>", status=400)
        return _page("<p>You may close this page and go back to your device.</p>")

    def _chosen(self, form: Mapping[str, object]) -> Person | None:
        return self._people.get(str(form.get("person", "")))

    def _choice(self, more: str = "") -> str:
        people = "".join(
            f'<button name="person" value="{escape(person.user)}">{escape(person.name)}</button>'
            for person in self._people.values()
        )
        return f'<form method="post">{more}{people}<button name="person" value="">Nobody: cancel</button></form>'


def _page(text: str, *, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": "frame-ancestors 'none'"}
    return web.Response(status=status, text=_PAGE.format(text), content_type="text/html", headers=headers)


def _back(query: Mapping[str, str], answer: Mapping[str, str]) -> web.Response:
    """Returns to the client, whose redirect URI was checked."""
    state = {"state": query["state"]} if "state" in query else {}
    location = f"{query['redirect_uri']}?{urlencode({**answer, **state})}"
    return web.Response(status=302, headers={"Location": location, "Cache-Control": "no-store"})
