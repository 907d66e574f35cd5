"""What the console shows: one module or folder per subject. A new subject is a line here."""

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
from valetkey_console.visits.subjects import Subject

SUBJECTS: tuple[Subject, ...] = (
    statics.SUBJECT,
    login.SUBJECT,
    overview.SUBJECT,
    connectors.SUBJECT,
    resources.SUBJECT,
    grants.SUBJECT,
    explain.SUBJECT,
    leases.SUBJECT,
    revocations.SUBJECT,
    audit.SUBJECT,
    api_keys.SUBJECT,
)
