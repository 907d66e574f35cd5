"""The console behind a proxy, at an outer URL with a path: whether the proxy leaves the path or takes it away."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from support.console import Browser, Console, running_console
from support.console_pages import Page, walk
from support.inproc import ADMIN_KEY, OPERATOR_KEY, bearer, new_connector

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]

ORIGIN = "https://ops.test"
BASE = "/tools/vk"


class Stripping(Browser):
    """A browser before a proxy that takes the path away: what it asks for comes without."""

    def __init__(self, app: object) -> None:
        super().__init__(app, ORIGIN + BASE)
        self.outer = ORIGIN


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxied(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Console]:
    async with running_console(tmp_path_factory.mktemp("proxied"), outer_url=ORIGIN + BASE) as running:
        await running.broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
        await running.broker.allow()
        yield running


async def test_the_same_with_and_without_the_path(proxied: Console) -> None:
    """Both kinds of proxies get the same pages, which lead to where the outer URL says."""
    stripped = Stripping(proxied.app)
    answer = await stripped.get("/grants?q=x", code=303)
    assert answer.headers["location"] == f"{BASE}/login?next=%2Fgrants%3Fq%3Dx"
    answer = await stripped.post("/login", {"api_key": ADMIN_KEY, "next": "/grants?q=x"})
    assert answer.headers["location"] == f"{BASE}/grants?q=x"
    for path in ("/", "/grants", "/grants/training"):
        one, other = (await stripped.get(path)).text, (await proxied.as_admin.get(path)).text
        assert _lasting(one) == _lasting(other)


async def test_every_address_is_below_the_path(proxied: Console) -> None:
    """No page leads, loads or sends a form past the proxy's part of the host."""
    proxied.as_admin.outer = ORIGIN
    pages = await walk(proxied.as_admin, f"{BASE}/")
    proxied.as_admin.outer = ORIGIN + BASE
    assert len(pages) >= 4
    for path, text in pages.items():
        if text.startswith("<!doctype"):
            wrong = [each for _, each in Page(text).addresses if not re.match(rf"({BASE}/|\?|#|$)", each)]
            assert wrong == [], path


async def test_other_paths_of_the_host(proxied: Console) -> None:
    """The proxy's other parts are not the console's: their links and redirects never begin with its path."""
    answer = await proxied.as_admin.http.get(f"{ORIGIN}{BASE}x/login")
    assert answer.status_code == 404


async def test_what_a_request_says_of_proxies_does_not_count(proxied: Console) -> None:
    """Neither where it was meant to go, nor how it came."""
    forged = {
        "x_forwarded_host": "evil.test",
        "x_forwarded_proto": "http",
        "forwarded": "host=evil.test",
        "host": "inner",
    }
    answer = await proxied.browser().get("/grants", code=303, **forged)
    assert urlsplit(answer.headers["location"]).netloc == ""
    page = (await proxied.as_admin.get("/", **forged, x_forwarded_prefix="/evil")).text
    assert "evil" not in page
    await proxied.as_admin.post("/logout", code=403, **forged, origin="https://evil.test")


def _lasting(page: str) -> str:
    """Returns what of a page does not depend on the second in which it is asked for."""
    return re.sub(r"\s+", " ", re.sub(r"<time.*?</time>|\d+ (?:d|h|min|s)\b", "", page))
