"""Rotations, and where credentials come from, as Vault keeps them, to domain values and back."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from valetkey_broker.model import (
    AzureConfig,
    CredentialOrigin,
    NewWay,
    PreviousWay,
    Rotation,
    RotationState,
    rotated_object,
)
from valetkey_broker.ports import Document


def encode_rotation(rotation: Rotation) -> dict[str, Any]:
    """Returns the document of a rotation; it holds nothing secret."""
    way = rotation.way
    return {
        **{
            each.name: getattr(rotation, each.name)
            for each in fields(Rotation)
            if each.name not in ("version", "object")
        },
        "state": rotation.state.value,
        "ends_as": rotation.ends_as.value,
        "started_at": rotation.started_at.isoformat(),
        "updated_at": rotation.updated_at.isoformat(),
        "way": {
            "auth_method": way.auth_method,
            "azure": dict(way.azure),
            "expires_at": _text_of(way.expires_at),
            "remove": list(way.remove),
        },
        "notes": dict(rotation.notes),
    }


def readable_rotation(path: str, document: Document | None) -> Rotation | None:
    """Returns the rotation of a document; None where there is none, or one that nobody can read, edited by hand."""
    if document is None:
        return None
    try:
        return decode_rotation(path, document.data, document.version)
    except (KeyError, TypeError, ValueError):
        return None


def decode_rotation(path: str, data: Mapping[str, Any], version: int) -> Rotation:
    """Returns the rotation at a path. Raises KeyError, TypeError or ValueError where it is malformed."""
    way = data["way"]
    return Rotation(
        id=str(uuid.UUID(data["id"])),
        object=rotated_object(path),
        object_uid=str(data["object_uid"]),
        source=str(data["source"]),
        state=RotationState(data["state"]),
        started_at=instant(data["started_at"]),
        started_by=str(data["started_by"]),
        started_by_uid=str(data.get("started_by_uid", "")),  # In none that an earlier version began.
        updated_at=instant(data["updated_at"]),
        request_id=str(data["request_id"]),
        method=str(data["method"]),
        may_redirect=bool(data["may_redirect"]),
        way=NewWay(
            auth_method=str(way["auth_method"]),
            azure={str(name): str(value) for name, value in dict(way["azure"]).items()},
            expires_at=_maybe_instant(way["expires_at"]),
            remove=tuple(str(name) for name in way["remove"]),
        ),
        candidate=int(data["candidate"]),
        from_version=int(data["from_version"]),
        to_version=int(data["to_version"]),
        notes={str(name): str(value) for name, value in dict(data["notes"]).items()},
        wait_until=float(data["wait_until"]),
        prove_seconds=int(data["prove_seconds"]),
        spent_seconds=float(data["spent_seconds"]),
        tries=int(data["tries"]),
        reason=str(data["reason"]),
        message=str(data["message"]),
        ends_as=RotationState(data["ends_as"]),
        holder=str(data["holder"]),
        fence=int(data["fence"]),
        beat=int(data["beat"]),
        version=version,
    )


def encode_origin(origin: CredentialOrigin | None) -> dict[str, Any] | None:
    """Returns where a credential comes from, as a part of a document."""
    if origin is None:
        return None
    return {
        "since": origin.since.isoformat(),
        "given_by": origin.given_by,
        "rotation": origin.rotation,
        "taken_from": origin.taken_from,
    }


def decode_origin(data: Any) -> CredentialOrigin | None:
    """Returns where a credential comes from. Raises KeyError, TypeError or ValueError where it is malformed."""
    if data is None:
        return None
    rotation, taken_from = str(data.get("rotation", "")), int(data.get("taken_from", 0))
    return CredentialOrigin(instant(data["since"]), str(data["given_by"]), rotation, taken_from)


def encode_previous(previous: PreviousWay | None) -> dict[str, Any] | None:
    """Returns how the credential before logs in, as a part of a document."""
    if previous is None:
        return None
    return {
        "auth_method": previous.auth_method,
        "azure": asdict(previous.azure),
        "expires_at": _text_of(previous.expires_at),
        "origin": encode_origin(previous.origin),
    }


def decode_previous(data: Any) -> PreviousWay | None:
    """Returns how the credential before logs in. Raises KeyError, TypeError or ValueError where it is malformed."""
    if data is None:
        return None
    return PreviousWay(
        str(data["auth_method"]),
        azure_config(data["azure"]),
        _maybe_instant(data["expires_at"]),
        decode_origin(data["origin"]),
    )


def azure_config(data: Mapping[str, Any]) -> AzureConfig:
    """Returns a configuration; a field that this version does not know is passed over where it is empty only."""
    known = {field.name for field in fields(AzureConfig)}
    return AzureConfig(**{name: value for name, value in data.items() if name in known or value})


def instant(text: str) -> datetime:
    """Returns a point in time. Raises ValueError for one without its zone."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:  # Which instant that is would hang on the machine, and comparing it would fail later.
        raise ValueError("a time without its zone")
    return when


def _maybe_instant(text: str | None) -> datetime | None:
    return instant(text) if text is not None else None


def _text_of(when: datetime | None) -> str | None:
    return when.isoformat() if when is not None else None
