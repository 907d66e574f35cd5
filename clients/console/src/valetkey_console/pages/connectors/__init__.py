"""Connectors: the named ways into a cloud account."""

from valetkey_console.pages.connectors import (
    deleting,
    registering,
    rotating,
    rotation_progress,
    rotation_scheduling,
    updating,
    verifying,
)
from valetkey_console.pages.connectors.list import show_list
from valetkey_console.pages.connectors.one import show_one, show_reach
from valetkey_console.visits.roles import OPERATORS, VIEWERS
from valetkey_console.visits.routing import Section, get, post

SECTION = Section(
    "connectors",
    (
        get("/connectors", show_list),
        # Not below /connectors: a connector may be called as a page is.
        get("/register", registering.choose, roles=OPERATORS),
        get("/register/{type}/{auth_method}", registering.show, roles=OPERATORS),
        post("/register/{type}/{auth_method}", registering.register, roles=OPERATORS),
        get("/connectors/{name}", show_one),
        get("/connectors/{name}/reach", show_reach),
        get("/connectors/{name}/verify", verifying.show, roles=OPERATORS),
        post("/connectors/{name}/verify", verifying.verify, roles=OPERATORS),
        get("/connectors/{name}/rotation", rotation_progress.show),
        get("/connectors/{name}/rotation/part", rotation_progress.show_part, background=True),
        post("/connectors/{name}/abort", rotating.abort, roles=OPERATORS),
        get("/connectors/{name}/rotate", rotating.show, roles=OPERATORS),
        post("/connectors/{name}/rotate", rotating.rotate, roles=OPERATORS),
        get("/connectors/{name}/rotate-by-itself", rotating.show_by_itself, roles=OPERATORS),
        post("/connectors/{name}/rotate-by-itself", rotating.rotate_by_itself, roles=OPERATORS),
        get("/connectors/{name}/rollback", rotating.show_rollback, roles=OPERATORS),
        post("/connectors/{name}/rollback", rotating.rollback, roles=OPERATORS),
        get("/connectors/{name}/schedule", rotation_scheduling.show, roles=OPERATORS),
        post("/connectors/{name}/schedule", rotation_scheduling.schedule, roles=OPERATORS),
        get("/connectors/{name}/update", updating.show, roles=OPERATORS),
        post("/connectors/{name}/update", updating.update, roles=OPERATORS),
        get("/connectors/{name}/delete", deleting.show, roles=OPERATORS),
        post("/connectors/{name}/delete", deleting.delete, roles=OPERATORS),
    ),
    title="Connectors",
    path="/connectors",
    order=20,
    roles=VIEWERS,
)
