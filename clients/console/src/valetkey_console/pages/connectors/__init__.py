"""Connectors: the named ways into a cloud account."""

from valetkey_console.pages.connectors import (
    deleting,
    detail,
    listing,
    progress,
    registering,
    rotating,
    scheduling,
    updating,
    verifying,
)
from valetkey_console.visits.sections import OPERATORS, VIEWERS, Section, get, post

SECTION = Section(
    "connectors",
    (
        get("/connectors", listing.show),
        # Not below /connectors: a connector may be called as a page is.
        get("/register", registering.choose, roles=OPERATORS),
        get("/register/{type}/{auth_method}", registering.show, roles=OPERATORS),
        post("/register/{type}/{auth_method}", registering.register, roles=OPERATORS),
        get("/connectors/{name}", detail.show),
        get("/connectors/{name}/reach", detail.show_reach),
        get("/connectors/{name}/verify", verifying.show, roles=OPERATORS),
        post("/connectors/{name}/verify", verifying.verify, roles=OPERATORS),
        get("/connectors/{name}/rotation", progress.show),
        get("/connectors/{name}/rotation/part", progress.show_part, background=True),
        post("/connectors/{name}/abort", rotating.abort, roles=OPERATORS),
        get("/connectors/{name}/rotate", rotating.show, roles=OPERATORS),
        post("/connectors/{name}/rotate", rotating.rotate, roles=OPERATORS),
        post("/connectors/{name}/rotate-by-itself", rotating.rotate_by_itself, roles=OPERATORS),
        get("/connectors/{name}/rollback", rotating.show_rollback, roles=OPERATORS),
        post("/connectors/{name}/rollback", rotating.rollback, roles=OPERATORS),
        get("/connectors/{name}/schedule", scheduling.show, roles=OPERATORS),
        post("/connectors/{name}/schedule", scheduling.schedule, roles=OPERATORS),
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
