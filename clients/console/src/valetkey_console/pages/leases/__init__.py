"""Leases: which tokens are out, and whose."""

from valetkey_console.pages.leases.list import show_list
from valetkey_console.pages.leases.one import show_one
from valetkey_console.visits.roles import READERS_OF_GRANTS
from valetkey_console.visits.routing import Section, get

SECTION = Section(
    "leases",
    (get("/leases", show_list), get("/leases/{name}", show_one)),
    title="Leases",
    path="/leases",
    order=50,
    roles=READERS_OF_GRANTS,
)
