"""One request of somebody who is logged in, or is about to be."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from valetkey import AsyncClient
from valetkey_console.broker.failures import Failure
from valetkey_console.lists.columns import Columns
from valetkey_console.lists.downloads import download
from valetkey_console.lists.list_page import found, listing
from valetkey_console.lists.list_query import Asked
from valetkey_console.safety.local_paths import without_base
from valetkey_console.sessions.session import Session
from valetkey_console.visits.console import Console
from valetkey_console.visits.roles import Roles, may
from valetkey_console.visits.routing import Section

# What stands for itself in a path.
_SAFE = "/-._~!$&'()*+,;=:@"
# Seconds that a message for the next page is kept.
_SAID_SECONDS = 60
# Characters, which take six bytes each at worst: it has to fit into the cookies that browsers keep.
_MOST_SAID, _MOST_WARNED = 600, 1_200
# Where base.html has room for it.
_FAILURE = "#failure"


@dataclass(slots=True)
class Visit:
    """A request, who made it, and how to answer. `broker` calls the broker as that person."""

    request: Request
    console: Console
    section: Section
    session: Session | None = None
    client: AsyncClient | None = None
    # Finds the request in the console's log.
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def broker(self) -> AsyncClient:
        """The broker, called as the person. There is none on pages that need no log-in."""
        if self.client is None:
            raise RuntimeError("this page is shown without a log-in; it has no broker to call")
        return self.client

    @property
    def person(self) -> Session:
        """Who is logged in."""
        if self.session is None:
            raise RuntimeError("this page is shown without a log-in; nobody is there")
        return self.session

    @property
    def query(self) -> Mapping[str, str]:
        """What stands behind the `?` of the address."""
        return self.request.query_params

    @property
    def fragment(self) -> bool:
        """Whether htmx asks, for a part of a page."""
        return "hx-request" in self.request.headers

    def name(self, key: str = "name") -> str:
        """Returns a part of the path."""
        return str(self.request.path_params[key])

    def may(self, roles: Roles) -> bool:
        """Tells whether the person has one of these roles."""
        return self.session is not None and may(self.session.roles, roles)

    @property
    def path(self) -> str:
        """The path of this page as browsers have to ask for it, without its query."""
        return self.url(quote(without_base(self.request.scope["path"], self.console.settings.base_path), safe=_SAFE))

    def url(self, path: str) -> str:
        """Returns the path of one of our pages as browsers have to ask for it."""
        return f"{self.console.settings.base_path}{path}"

    async def form(self) -> FormData:
        """Returns the fields that were sent: each a string, or an UploadFile."""
        return await self.request.form(max_files=4, max_fields=200)

    def render(self, template: str, *, status: int | None = None, **values: Any) -> Response:
        """Returns a page or a part of one; templates know `visit`, and `said`, the message of the form before.

        A page about a `failure` has its status, if no other is given.
        """
        if status is None:
            failure: Failure | None = values.get("failure")
            status = 200 if failure is None else failure.status
        said = self.console.said.read(self.request.cookies) if self.session is not None and not self.fragment else None
        text = self.console.templates.get_template(template).render(
            visit=self, sections=self._navigation(), said=said, **values
        )
        response = HTMLResponse(text, status_code=status)
        if said is not None:
            self.console.said.clear(response, self.request.cookies)
        return response

    def fail(self, failure: Failure) -> Response:
        """Returns the page about a call that failed; for htmx the part of one, which goes to the top of the page."""
        if not self.fragment:
            return self.render("failure.html", failure=failure)
        response = self.render("failure_part.html", failure=failure)
        response.headers.update({"HX-Retarget": _FAILURE, "HX-Reselect": _FAILURE, "HX-Reswap": "outerHTML"})
        return response

    def redirect(self, path: str, *, said: str = "", warnings: Iterable[str] = ()) -> Response:
        """Sends to one of our pages, which says `said` and `warnings` once; for after a form."""
        if self.fragment:
            response = Response(status_code=204, headers={"HX-Redirect": self.url(path)})
        else:
            response = RedirectResponse(self.url(path), status_code=303)
        if said:
            message = {"text": said[:_MOST_SAID], "warnings": "\n".join(warnings)[:_MOST_WARNED].splitlines()}
            self.console.said.write(response, self.request.cookies, message, _SAID_SECONDS)
        return response

    def asked(self, columns: Columns, *, sort: str = "", filters: Sequence[str] = ()) -> Asked:
        """Returns what the address asks of a list."""
        return Asked.of(self.query, [column.key for column in columns], sort=sort, filters=filters)

    def list_page(
        self,
        template: str,
        columns: Columns,
        rows: Sequence[Any],
        asked: Asked,
        *,
        cut: bool = False,
        more: bool = False,
        **values: Any,
    ) -> Response:
        """Returns a page with `listing` in it or, where the address asks for that, all that was found as a file.

        `cut` says that there are more rows than these, `more` that there are some for the pages that follow.
        """
        if asked.download:
            return download(asked.download, self.section.name, columns, found(columns, rows, asked))
        return self.render(template, listing=listing(columns, rows, asked, cut=cut, more=more), **values)

    def _navigation(self) -> list[Section]:
        return [section for section in self.console.sections if section.title and self.may(section.roles)]
