"""The ledger: what was decided, by whom, and whether the record of it still holds."""

from valetkey_console.pages.audit.following import show_news, show_tail
from valetkey_console.pages.audit.searching import show_record, show_records, show_request
from valetkey_console.pages.audit.verifying import show_verification, verify
from valetkey_console.visits.roles import AUDITORS
from valetkey_console.visits.routing import Section, get, post

SECTION = Section(
    "audit",
    (
        get("/audit", show_records),
        get("/audit/tail", show_tail),
        # Looked at without a person's doing: an open page keeps no log-in alive.
        get("/audit/tail/news", show_news, background=True),
        get("/audit/verify", show_verification),
        post("/audit/verify", verify),
        get("/audit/requests/{name}", show_request),
        get("/audit/records/{name}", show_record),
    ),
    title="Audit",
    path="/audit",
    order=60,
    roles=AUDITORS,
)

__all__ = ["SECTION"]
