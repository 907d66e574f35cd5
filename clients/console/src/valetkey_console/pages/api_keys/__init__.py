"""API keys: who has one, and making, rotating and revoking them."""

from valetkey_console.pages.api_keys.list import show_list
from valetkey_console.pages.api_keys.making import create, rotate, show_create, show_rotate
from valetkey_console.pages.api_keys.one import show_one
from valetkey_console.pages.api_keys.revoking import revoke, show_revoke
from valetkey_console.visits.roles import ADMINS
from valetkey_console.visits.routing import Section, get, post

SECTION = Section(
    "api-keys",
    (
        get("/api-keys", show_list),
        get("/api-keys/new", show_create),
        post("/api-keys/new", create),
        get("/api-keys/of/{name}", show_one),
        get("/api-keys/of/{name}/rotate", show_rotate),
        post("/api-keys/of/{name}/rotate", rotate),
        get("/api-keys/of/{name}/revoke", show_revoke),
        post("/api-keys/of/{name}/revoke", revoke),
    ),
    title="API keys",
    path="/api-keys",
    order=70,
    roles=ADMINS,
)

__all__ = ["SECTION"]
