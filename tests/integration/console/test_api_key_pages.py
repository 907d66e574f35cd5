"""API keys in the console: made, shown once, rotated and revoked."""

import re

import pytest

from support.console import Console

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]
KEY = re.compile(r"vk_[A-Za-z0-9_-]{43}")


async def test_a_key_is_made_and_shown_once(console: Console) -> None:
    """It works, its page may not be kept, and no other page has it."""
    admin = console.as_admin
    assert "valetkey api-key create" in (await admin.get("/api-keys/new")).text
    made = await admin.post("/api-keys/new", {"name": "once", "roles": ["viewer"], "days": "7"}, code=200)
    key = KEY.search(made.text)
    assert key
    assert made.headers["cache-control"] == "no-store"
    holder = console.browser()
    await holder.log_in(key[0])
    overview = (await holder.get("/")).text
    assert "viewer" in overview
    # What ends comes after the page, with what mends it for who may do that; of keys, admins.
    assert 'hx-get="/endings" hx-trigger="load"' in overview
    endings = (await holder.get("/endings", hx_request="true")).text
    assert "<html" not in endings
    assert "api-key once" in endings
    assert "An admin can fix it." in endings
    assert "valetkey api-key rotate once" not in endings
    assert "valetkey api-key rotate once" in (await admin.get("/endings")).text
    for path in ("/api-keys", "/api-keys/of/once", "/api-keys/new"):
        page = (await admin.get(path)).text
        assert key[0] not in page
        assert not KEY.search(page)
    # The form once more, as a reload sends it, makes no second key of the name, and shows none.
    again = (await admin.post("/api-keys/new", {"name": "once", "days": "30"}, code=409)).text
    assert "This name is taken" in again
    assert not KEY.search(again)
    # One without a role needs a grant.
    grant = 'href="/new-grant?principal=key%3Aonce-bare"'
    assert grant in (await admin.post("/api-keys/new", {"name": "once-bare", "days": "30"}, code=200)).text
    assert grant in (await admin.get("/api-keys/of/once-bare")).text


async def test_a_wrong_name_keeps_what_was_typed(console: Console) -> None:
    """The form comes back with the reason."""
    page = (await console.as_admin.post("/api-keys/new", {"name": "No Name", "roles": ["auditor"]}, code=400)).text
    assert 'value="No Name"' in page
    assert 'value="auditor" checked' in page
    assert "--role auditor" in page


async def test_rotating_and_revoking(console: Console) -> None:
    """Another secret of the same name; then none at all, once its name was typed."""
    admin = console.as_admin
    first = KEY.search((await admin.post("/api-keys/new", {"name": "turning", "roles": ["viewer"]}, code=200)).text)
    assert first
    assert "valetkey api-key rotate turning --overlap 1h" in (await admin.get("/api-keys/of/turning/rotate")).text
    second = KEY.search((await admin.post("/api-keys/of/turning/rotate", {"hours": "0"}, code=200)).text)
    assert second
    assert second[0] != first[0]
    old, new = console.browser(), console.browser()
    await new.log_in(second[0])
    await old.post("/login", {"api_key": first[0], "next": "/"}, code=401)

    assert "None of its tokens is still valid." in (await admin.get("/api-keys/of/turning/revoke")).text
    await admin.post("/api-keys/of/turning/revoke", {"typed": "turnin"}, code=400)
    answer = await admin.post("/api-keys/of/turning/revoke", {"typed": "turning"})
    assert "Revoked the API key turning." in (await admin.follow(answer)).text
    assert (await new.get("/", code=303)).headers["location"].startswith("/login")
    await admin.get("/api-keys/of/turning", code=404)


async def test_who_locks_themselves_out_is_warned(console: Console) -> None:
    """The key that one is logged in with is named as such."""
    assert "you would lock yourself out" in (await console.as_admin.get("/api-keys/of/admin/revoke")).text


async def test_only_admins(console: Console) -> None:
    """Neither pages nor forms for the others."""
    for browser in (console.as_operator, console.as_viewer, console.as_auditor, console.as_consumer):
        await browser.get("/api-keys", code=403)
        await browser.post("/api-keys/new", {"name": "mine", "roles": ["admin"]}, code=403)
        await browser.post("/api-keys/of/admin/revoke", {"typed": "admin"}, code=403)
