"""The roles that pages are for. The broker decides who may do what (docs/grants.md): these are its own roles, and only
keep what is refused anyway out of people's way.
"""

from collections.abc import Collection

Roles = frozenset[str]

EVERYBODY: Roles = frozenset()
ADMINS: Roles = frozenset({"admin"})
OPERATORS: Roles = frozenset({"admin", "operator"})
VIEWERS: Roles = frozenset({"admin", "operator", "viewer"})
AUDITORS: Roles = frozenset({"admin", "auditor"})
READERS_OF_GRANTS: Roles = frozenset({"admin", "operator", "auditor"})


def may(roles: Collection[str], allowed: Roles) -> bool:
    """Tells whether somebody with `roles` is among the `allowed`; EVERYBODY lets in whoever is logged in."""
    return not allowed or bool(allowed.intersection(roles))
