"""Microsoft Graph, as far as the secrets of an application go: look, add, remove.

Source: https://learn.microsoft.com/graph/api/application-addpassword and
https://learn.microsoft.com/graph/api/application-removepassword
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from valetkey_devstack.control_plane.client_secrets import Passwords

PATH = "/graph"
"""Where it is below the stand-in's URL; the real one has a host of its own."""
OWNED_BY = "Application.ReadWrite.OwnedBy"
_ALL = frozenset({"Application.ReadWrite.All", "Directory.ReadWrite.All"})
_NOT_YOURS = frozenset({"keyId", "secretText", "hint", "customKeyIdentifier"})

# What is answered for a planned failure without a body of its own.
PLANNED = {
    401: ("InvalidAuthenticationToken", "Access token is empty."),
    403: ("Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
    429: ("TooManyRequests", "Too many requests."),
    503: ("ServiceUnavailable", "The service is temporarily unavailable."),
}


class GraphError(Exception):
    """An answer other than a result, in Graph's shape."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        super().__init__(message)

    def body(self) -> dict[str, Any]:
        """Returns the JSON that Graph answers with."""
        asked = str(uuid.uuid4())
        inner = {
            "date": datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "request-id": asked,
            "client-request-id": asked,
        }
        return {"error": {"code": self.code, "message": str(self), "innerError": inner}}


class Graph:
    """One application and its secrets.

    `owned` says whether the application's own service principal is among its owners; `quota` is how many secrets it may
    have, which is 2 for those that personal accounts may sign in to, and otherwise far off.
    """

    def __init__(self, client_id: str, passwords: Passwords) -> None:
        self._client_id = client_id
        self._object_id = str(uuid.uuid4())
        self._passwords = passwords
        self.owned = True
        self.quota = 1_000

    def application(self, name: str, token: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the application that is addressed by `name`, such as `applications(appId='…')`."""
        self._admit(name, token)
        return {
            "@odata.context": "$metadata#applications/$entity",
            "id": self._object_id,
            "appId": self._client_id,
            "displayName": "valetkey-broker",
            "passwordCredentials": [each.shape() for each in self._passwords.listed()],
        }

    def add_password(self, name: str, token: Mapping[str, Any], body: Any) -> Mapping[str, Any]:
        """Makes a secret and returns it, once."""
        self._admit(name, token)
        asked = _object(_object(body).get("passwordCredential", {}))
        if given := sorted(_NOT_YOURS & asked.keys()):
            raise GraphError(400, "Request_BadRequest", f"Property '{given[0]}' is read-only and cannot be set.")
        if len(self._passwords.there()) >= self.quota:
            # That it is a bad request: https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/1142
            raise GraphError(400, "Request_BadRequest", "The number of password credentials exceeds the limit.")
        label, end = asked.get("displayName"), asked.get("endDateTime")
        try:
            ends = None if end is None else datetime.fromisoformat(end)
        except (TypeError, ValueError):
            text = "Cannot convert a value to target type 'Edm.DateTimeOffset'."
            raise GraphError(400, "Request_BadRequest", text) from None
        return self._passwords.make(label, ends).shape(with_secret=True)

    def remove_password(self, name: str, token: Mapping[str, Any], body: Any) -> None:
        """Removes a secret by its key id; what did not get around yet is not found."""
        self._admit(name, token)
        key_id = _object(body).get("keyId")
        for each in self._passwords.listed():
            if each.key_id == key_id:
                self._passwords.remove(each)
                return
        raise GraphError(400, "Request_BadRequest", f"No password credential found with keyId {key_id}.")

    def _admit(self, name: str, token: Mapping[str, Any]) -> None:
        roles = set(token.get("roles", ()))
        of_ours = name in (f"applications(appId='{self._client_id}')", f"applications/{self._object_id}")
        if roles & _ALL:
            if not of_ours:
                text = f"Resource '{name}' does not exist or one of its queried objects are not present."
                raise GraphError(404, "Request_ResourceNotFound", text)
        elif OWNED_BY not in roles or not self.owned or not of_ours:
            code, text = PLANNED[403]
            raise GraphError(403, code, text)


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise GraphError(400, "Request_BadRequest", "The body is not an object.")
    return value
