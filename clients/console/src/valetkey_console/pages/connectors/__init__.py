"""Connectors: the named ways into a cloud account."""

from valetkey_console.pages.connectors import detail, listing, verifying
from valetkey_console.visits.subjects import OPERATORS, VIEWERS, Subject, get, post

SUBJECT = Subject(
    "connectors",
    (
        get("/connectors", listing.show),
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
