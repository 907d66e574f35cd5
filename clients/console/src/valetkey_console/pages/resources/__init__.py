"""Resources: what connectors reach, who may have it, and who had it today."""

from valetkey_console.pages.resources.list import show_list
from valetkey_console.pages.resources.one import show_one
from valetkey_console.visits.routing import Section, get

SECTION = Section(
    "resources",
    (get("/resources", show_list), get("/resources/one", show_one)),
    title="Resources",
    path="/resources",
    order=30,
)
