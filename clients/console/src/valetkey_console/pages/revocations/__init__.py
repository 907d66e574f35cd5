"""Revocations: taking access back, and giving it again."""

from valetkey_console.pages.revocations.list import show_list
from valetkey_console.pages.revocations.making import ask, revoke
from valetkey_console.pages.revocations.one import ask_lift, lift, progress, show_one
from valetkey_console.visits.roles import OPERATORS, READERS_OF_GRANTS
from valetkey_console.visits.routing import Section, get, post

SECTION = Section(
    "revocations",
    (
        get("/revocations", show_list),
        # Not below /revocations: there each name can be that of one.
        get("/revoke", ask, roles=OPERATORS),
        post("/revoke", revoke, roles=OPERATORS),
        get("/revocations/{name}", show_one),
        get("/revocations/{name}/progress", progress, background=True),
        get("/revocations/{name}/lift", ask_lift, roles=OPERATORS),
        post("/revocations/{name}/lift", lift, roles=OPERATORS),
    ),
    title="Revocations",
    path="/revocations",
    order=55,
    roles=READERS_OF_GRANTS,
)
