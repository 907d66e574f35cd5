"""What the console shows: one module or folder per section. A new section is a line here."""

from valetkey_console.pages import (
    api_keys,
    audit,
    connectors,
    explain,
    grants,
    leases,
    login,
    overview,
    resources,
    revocations,
    statics,
)
from valetkey_console.visits.sections import Section

SECTIONS: tuple[Section, ...] = (
    statics.SECTION,
    login.SECTION,
    overview.SECTION,
    connectors.SECTION,
    resources.SECTION,
    grants.SECTION,
    explain.SECTION,
    leases.SECTION,
    revocations.SECTION,
    audit.SECTION,
    api_keys.SECTION,
)
