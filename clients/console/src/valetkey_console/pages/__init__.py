"""What the console shows: one module or folder per section. A new section is a line here."""

from valetkey_console.pages import (
    api_keys,
    audit,
    connectors,
    explain,
    grants,
    leases,
    liveness_probe,
    login,
    overview,
    resources,
    revocations,
    static_files,
)
from valetkey_console.visits.routing import Section

SECTIONS: tuple[Section, ...] = (
    static_files.SECTION,
    liveness_probe.SECTION,
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
