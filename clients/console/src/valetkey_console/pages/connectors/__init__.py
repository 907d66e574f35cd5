"""Connectors: the named ways into a cloud account."""

from valetkey_console.pages.connectors import detail, listing, registering, verifying
from valetkey_console.visits.subjects import OPERATORS, VIEWERS, Subject, get, post

SUBJECT = Subject(
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
    ),
    title="Connectors",
    path="/connectors",
    order=20,
    roles=VIEWERS,
)
