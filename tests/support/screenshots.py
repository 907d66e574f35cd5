"""`make screenshots`: every page of the console with a dev stack's data, wide and narrow, light and dark.

One of them is the README's. Names of pages are those of the files in build/screenshots.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any

from support.chromium import LAUNCH, lend_playwright
from valetkey import AsyncClient, GrantSpec, ValetKeyError
from valetkey_devstack.broker_process import start_broker
from valetkey_devstack.console_process import console_address, start_console
from valetkey_devstack.demo_data import DEMO_CONNECTOR, DEMO_RESOURCE, add_demo_data
from valetkey_devstack.stack import DevStack

ROOT = Path(__file__).parents[2]
lend_playwright()
PAGES = {
    "overview": "/",
    "connectors": "/connectors",
    "connector": f"/connectors/{DEMO_CONNECTOR}",
    "rotate": f"/connectors/{DEMO_CONNECTOR}/rotate",
    "rotate-by-itself": f"/connectors/{DEMO_CONNECTOR}/rotate-by-itself",
    "update": f"/connectors/{DEMO_CONNECTOR}/update",
    "register": "/register",
    "register-form": "/register/azure/service-principal",
    "resources": "/resources",
    "resource": f"/resources/one?resource={DEMO_RESOURCE.replace(':', '%3A').replace('/', '%2F')}",
    "grants": "/grants",
    "grant": "/grants/training",
    "new-grant": "/new-grant",
    "explain": "/explain?principal=key%3Aintern&resource="
    + DEMO_RESOURCE.replace(":", "%3A").replace("/", "%2F")
    + "&permissions=write&sent=1",
    "leases": "/leases",
    "revocations": "/revocations",
    "revoke": "/revoke?principal=key%3Ademo-consumer",
    "audit": "/audit",
    "tail": "/audit/tail",
    "verify": "/audit/verify",
    "api-keys": "/api-keys",
    "new-api-key": "/api-keys/new",
}
# The README's: small enough to load, wide enough to show what the page is for.
_PICTURE, _PICTURE_SIZE = "resource", {"width": 1180, "height": 860}
_LOOKS = (("light", 1600), ("dark", 1600), ("light", 360), ("dark", 360))


async def main(looks: Sequence[tuple[str, int]], names: Collection[str]) -> None:
    """Takes pictures of these pages with each of these looks, and the README's."""
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="valetkey-screenshots-") as name:
        async with _stack(Path(name) / "stack") as (stack, admin_key), _browser() as browser:
            for scheme, width in looks:
                context = await browser.new_context(
                    color_scheme=scheme, viewport={"width": width, "height": 900}, timezone_id="Europe/Berlin"
                )
                page = await context.new_page()
                await page.goto(console_address(stack) + "login")
                await page.screenshot(path=folder / f"login-{width}-{scheme}.png", full_page=True)
                await page.get_by_label("API key").fill(admin_key)
                await page.locator("form[action$='/login'] button").click()
                await page.wait_for_url(console_address(stack))
                for what, path in ((what, path) for what, path in PAGES.items() if what in names):
                    await page.goto(console_address(stack).rstrip("/") + path)
                    if what == "verify":
                        await page.get_by_role("button", name="Verify now").click()
                    # What comes by itself a moment later: reach, records, the result of verifying.
                    await page.wait_for_timeout(1_500)
                    await page.screenshot(path=folder / f"{what}-{width}-{scheme}.png", full_page=True)
                if (scheme, width) == _LOOKS[0]:
                    await page.set_viewport_size(_PICTURE_SIZE)
                    await page.goto(console_address(stack).rstrip("/") + PAGES[_PICTURE])
                    await page.wait_for_timeout(1_500)
                    await page.screenshot(path=folder / "README.png")
                await context.close()
    sys.stdout.write(f"screenshots: {len(list(folder.glob('*.png')))} in build/screenshots\n")


@contextlib.asynccontextmanager
async def _stack(directory: Path) -> AsyncIterator[tuple[DevStack, str]]:
    async with contextlib.AsyncExitStack() as around:
        stack = await around.enter_async_context(DevStack(directory))
        files = await add_demo_data(stack)
        broker = await start_broker(stack, workers=1)
        around.push_async_callback(broker.stop, grace=15)
        console = await start_console(stack)
        around.push_async_callback(console.stop)
        admin_key = files.admin_key.read_text(encoding="ascii").strip()
        await _what_happened(stack, admin_key, files.consumer_key.read_text(encoding="ascii").strip())
        yield stack, admin_key


async def _what_happened(stack: DevStack, admin_key: str, consumer_key: str) -> None:
    """Has people and jobs do what the pages then tell of."""
    endpoint, ca = f"127.0.0.1:{stack.ports.broker}", stack.ca_file
    container = DEMO_RESOURCE.removeprefix("az://")
    async with (
        AsyncClient(endpoint, api_key=admin_key, ca_file=ca) as admin,
        AsyncClient(endpoint, api_key=consumer_key, ca_file=ca) as consumer,
    ):
        for name, principals, permissions, note in (
            ("training", ["oidc:cluster#system:serviceaccount:ml:trainer"], ["read", "list", "write"], "Training jobs"),
            ("serving", ["oidc:cluster#system:serviceaccount:ml:deployer"], ["read", "list"], "Loads models"),
            ("analysts", ["key:ada", "key:intern"], ["read", "list"], "Notebooks"),
        ):
            with contextlib.suppress(ValetKeyError):
                await admin.create_grant(
                    name,
                    GrantSpec(
                        principals=principals,
                        connectors=[DEMO_CONNECTOR],
                        containers=[container],
                        permissions=permissions,
                        note=note,
                    ),
                )
        for permissions in (["read", "list"], ["read"], ["read", "list", "write"]):
            await admin.issue_token(DEMO_RESOURCE, permissions, purpose="a look at the models")
            with contextlib.suppress(ValetKeyError):
                await consumer.issue_token(DEMO_RESOURCE, permissions, purpose="training run 214")
        with contextlib.suppress(ValetKeyError):
            await consumer.issue_token("az://payroll", ["read"])


@contextlib.asynccontextmanager
async def _browser() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(**LAUNCH)
        try:
            yield browser
        finally:
            await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", action="store_true", help="only the README's")
    only_picture = parser.parse_args().picture
    asyncio.run(main(_LOOKS[:1] if only_picture else _LOOKS, () if only_picture else PAGES))
