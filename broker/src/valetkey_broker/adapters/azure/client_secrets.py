"""The client secrets of applications, through Microsoft Graph.

Source: https://learn.microsoft.com/graph/api/application-addpassword and
https://learn.microsoft.com/graph/api/application-removepassword
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from valetkey_broker.adapters.azure.rest import Rest
from valetkey_broker.model import Secret, check_uuid
from valetkey_broker.ports.credential_maker import ApplicationPassword, NewPassword


async def passwords_of(graph: Rest, client_id: str) -> Sequence[ApplicationPassword] | None:
    """Returns the secrets that Graph lists; None where the answer lists none, not even none. Raises BrokerError."""
    said = await graph.get(f"{_application(client_id)}?$select=passwordCredentials")
    listed = said.get("passwordCredentials")
    return [_password(each) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else None


async def add_password(graph: Rest, client_id: str, display_name: str, ends: datetime) -> NewPassword | None:
    """Makes a secret; None where the answer does not have one. Raises BrokerError."""
    end = ends.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # Without a start: it begins when Entra makes it, whatever the broker's clock says.
    asked = {"passwordCredential": {"displayName": display_name, "endDateTime": end}}
    said = await graph.post(f"{_application(client_id)}/addPassword", asked)
    key_id, text = said.get("keyId"), said.get("secretText")
    return NewPassword(key_id, Secret(text)) if isinstance(key_id, str) and isinstance(text, str) and text else None


async def remove_password(graph: Rest, client_id: str, key_id: str) -> None:
    """Removes a secret. Raises BrokerError."""
    await graph.post(f"{_application(client_id)}/removePassword", {"keyId": key_id})


def _application(client_id: str) -> str:
    return f"/v1.0/applications(appId='{check_uuid('client_id', client_id)}')"


def _password(said: Mapping[str, Any]) -> ApplicationPassword:
    return ApplicationPassword(
        key_id=str(said.get("keyId") or ""),
        display_name=str(said.get("displayName") or ""),
        hint=str(said.get("hint") or ""),
        ends_at=_instant(said.get("endDateTime")),
    )


def _instant(said: object) -> datetime | None:
    try:
        when = datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        return None
    return when if when is not None and when.tzinfo is not None else None
