"""The console in the test's own event loop, before a broker that runs there too, and browsers that are logged in."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from support.inproc import (
    ADMIN_KEY,
    AUDITOR_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    VIEWER_KEY,
    Broker,
    running_broker,
)
from valetkey_console.app import console_app
from valetkey_console.settings import Settings

OUTER = "https://console.test"


class Browser:
    """Asks for pages as a browser does: keeps cookies, says where a form is, and follows no redirect by itself."""

    def __init__(self, app: Any, outer: str = OUTER) -> None:
        self.outer = outer
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=True)
        self.http = httpx2.AsyncClient(transport=transport, base_url=outer, timeout=60)

    async def get(self, path: str, *, code: int = 200, **headers: str) -> httpx2.Response:
        """Returns a page; `headers` with _ for -, such as `hx_request="true"`."""
        answer = await self.http.get(self.outer + path, headers=_named(headers))
        assert answer.status_code == code, f"GET {path}: {answer.status_code}\n{answer.text}"
        return answer

    async def post(
        self, path: str, form: Mapping[str, Any] | None = None, *, code: int = 303, files: Any = None, **headers: str
    ) -> httpx2.Response:
        """Sends a form from one of our own pages; `headers` come besides, an empty one takes one away."""
        usual = {"origin": _origin(self.outer), "sec-fetch-site": "same-origin", **_named(headers)}
        sent = {name: value for name, value in usual.items() if value}
        answer = await self.http.post(self.outer + path, data=dict(form or {}), files=files, headers=sent)
        assert answer.status_code == code, f"POST {path}: {answer.status_code}\n{answer.text}"
        return answer

    async def follow(self, answer: httpx2.Response) -> httpx2.Response:
        """Returns the page that an answer leads to."""
        location = answer.headers["location"]
        assert location.startswith("/"), location
        return await self.get(_without(self.outer, location))

    async def log_in(self, key: str, back: str = "/") -> httpx2.Response:
        """Logs in by an API key."""
        return await self.post("/login", {"api_key": key, "next": back})


@dataclass
class Console:
    """A console before a broker, and a browser of each kind of person."""

    broker: Broker
    app: Any
    settings: Settings
    as_admin: Browser
    as_operator: Browser
    as_viewer: Browser
    as_auditor: Browser
    as_consumer: Browser

    def browser(self) -> Browser:
        """Returns another browser, of nobody yet."""
        return Browser(self.app, self.settings.outer_url)


def console_settings(broker: Broker, directory: Path, **more: Any) -> Settings:
    """Returns the settings of a console before `broker`, whose files are in `directory`."""
    return Settings(
        **{
            "endpoint": broker.endpoint,
            "ca_file": directory / "ca.pem",
            "outer_url": OUTER,
            "api_key_login": True,
            **more,
        }
    )


@contextlib.asynccontextmanager
async def running_console(directory: Path, broker: Broker | None = None, **more: Any) -> AsyncIterator[Console]:
    """Runs a console, before a broker of its own where none is given; `more` are settings of the console."""
    async with contextlib.AsyncExitStack() as around:
        if broker is None:
            broker = await around.enter_async_context(running_broker(directory))
            await broker.ready()
        settings = console_settings(broker, directory, **more)
        app = console_app(settings)
        await around.enter_async_context(_lifespan(app))
        browsers = [Browser(app, settings.outer_url) for _ in range(5)]
        for browser, key in zip(
            browsers, (ADMIN_KEY, OPERATOR_KEY, VIEWER_KEY, AUDITOR_KEY, CONSUMER_KEY), strict=True
        ):
            await browser.log_in(key)
            around.push_async_callback(browser.http.aclose)
        yield Console(broker, app, settings, *browsers)


@contextlib.asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    """Starts and ends an application as a server does."""
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, told.get, heard.put))
    await told.put({"type": "lifespan.startup"})
    assert (await heard.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await told.put({"type": "lifespan.shutdown"})
        assert (await heard.get())["type"] == "lifespan.shutdown.complete"
        await task


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _origin(outer: str) -> str:
    return "/".join(outer.split("/")[:3])


def _without(outer: str, location: str) -> str:
    base = outer.removeprefix(_origin(outer))
    return location.removeprefix(base)
