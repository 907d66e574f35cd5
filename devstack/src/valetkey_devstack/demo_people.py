"""What the people of the stand-in's directory are to a stack's broker."""

from typing import Any

from valetkey_broker.model import Role
from valetkey_devstack.control_plane.log_ins import LogIns
from valetkey_devstack.control_plane.people import PEOPLE

# Sam has no role: what people without one get, grants say.
_ROLES = {"ada": Role.ADMIN, "omar": Role.OPERATOR, "vera": Role.VIEWER}
# Those who get tokens for the demo container.
_GRANTED = ("ada", "sam")


def people_settings(log_ins: LogIns, ca_file: str) -> dict[str, Any]:
    """Returns the broker's settings `authn`, with which they log in, and have the roles that are theirs."""
    return {
        "oidc": [
            {
                "issuer": log_ins.issuer,
                "audience": log_ins.api_id,
                "ca_file": ca_file,
                "attributes": {"object-id": "oid", "user": "preferred_username"},
                "login": {"client_id": log_ins.client_id, "scopes": log_ins.scopes},
            }
        ],
        "roles": [
            {"role": role.value, "principals": [log_ins.principal(person)]}
            for person in PEOPLE
            if (role := _ROLES.get(person.user)) is not None
        ],
    }


def granted_people(log_ins: LogIns) -> list[str]:
    """Returns the principals of those who get tokens for the demo container."""
    return [log_ins.principal(person) for person in PEOPLE if person.user in _GRANTED]


def in_words() -> str:
    """Returns who they are, for a person to read."""
    return ", ".join(
        f"{person.name.split()[0]} ({_ROLES[person.user].value if person.user in _ROLES else 'no role'})"
        for person in PEOPLE
    )
