"""The made-up people who can log in at the stand-in for Entra."""

import base64
import hashlib
import uuid
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """A person of the stand-in's directory; whoever looks at its pages is whom they say they are."""

    user: str
    name: str

    def object_id(self, tenant_id: str) -> str:
        """Returns the object id, the claim `oid`."""
        return str(uuid.uuid5(uuid.UUID(tenant_id), self.user))

    def subject(self, tenant_id: str, api_id: str) -> str:
        """Returns the claim `sub`, which differs from one API to the next, as Entra's does."""
        digest = hashlib.sha256(f"{tenant_id}/{api_id}/{self.user}".encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


PEOPLE = (
    Person("ada", "Ada Bergström"),
    Person("omar", "Omar Haddad"),
    Person("vera", "Vera Novak"),
    Person("sam", "Sam Okafor"),
)
