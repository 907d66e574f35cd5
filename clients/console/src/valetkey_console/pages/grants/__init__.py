"""Grants: who may have what."""

from valetkey_console.pages.grants.changing import create, edit, new, save
from valetkey_console.pages.grants.deleting import ask, delete
from valetkey_console.pages.grants.list import show_list
from valetkey_console.pages.grants.one import show_one
from valetkey_console.visits.roles import ADMINS, READERS_OF_GRANTS
from valetkey_console.visits.routing import Section, get, post

SECTION = Section(
    "grants",
    (
        get("/grants", show_list),
        # Not below /grants: there each name can be that of a grant.
        get("/new-grant", new, roles=ADMINS),
        post("/new-grant", create, roles=ADMINS),
        get("/grants/{name}", show_one),
        get("/grants/{name}/edit", edit, roles=ADMINS),
        post("/grants/{name}/edit", save, roles=ADMINS),
        get("/grants/{name}/delete", ask, roles=ADMINS),
        post("/grants/{name}/delete", delete, roles=ADMINS),
    ),
    title="Grants",
    path="/grants",
    order=40,
    roles=READERS_OF_GRANTS,
)
