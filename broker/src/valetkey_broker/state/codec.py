"""Documents as Vault keeps them, to domain values and back."""

import uuid
from collections.abc import Container, Mapping
from dataclasses import asdict
from typing import Any

from valetkey_broker.model import (
    RESOURCE_TYPES,
    ApiKey,
    Connector,
    ConnectorType,
    ConsumerRole,
    ContainerPattern,
    EarlierDigest,
    Grant,
    GrantedConnector,
    NamedSecret,
    Pattern,
    Permission,
    PermissionSet,
    ResourceId,
    Role,
    RotationSchedule,
    check_prefix,
    parse_source_ip,
)
from valetkey_broker.state.rotation_codec import (
    azure_config,
    decode_origin,
    decode_previous,
    encode_origin,
    encode_previous,
    instant,
)


def is_tombstone(data: Mapping[str, Any]) -> bool:
    """Tells whether a document marks a deleted object; its name may be used again."""
    return bool(data.get("deleted"))


def encode_connector(connector: Connector) -> dict[str, Any]:
    """Returns the document of a connector; it holds nothing secret.

    Of one that uses a named secret it holds what the connector says itself: the rest is the secret's.
    """
    resource = connector.resource
    shares = bool(connector.secret_uid)
    document = {
        "uid": connector.uid,
        "type": connector.type.value,
        "auth_method": "" if shares else connector.auth_method,
        "resource_type": connector.resource_type,
        "resource": {"container": resource.container, "account": resource.account} if resource else None,
        "azure": asdict(connector.own_azure or connector.azure),
        "credential_version": 0 if shares else connector.credential_version,
        "previous_credential_version": 0 if shares else connector.previous_credential_version,
        "keys_not_before": connector.keys_not_before,
        "description": connector.description,
        "labels": dict(connector.labels),
        "expires_at": connector.expires_at.isoformat() if connector.expires_at else None,
        "expires_skew_tolerance": connector.expires_skew_tolerance,
        "unverified": connector.unverified,
        "rotation_schedule": asdict(connector.rotation_schedule) if connector.rotation_schedule else None,
        "created_at": connector.created_at.isoformat(),
        "created_by": connector.created_by,
    }
    if not shares:  # Of a named secret's value the secret tells these.
        document["origin"] = encode_origin(connector.origin)
        document["previous"] = encode_previous(connector.previous)
    return {**document, "secret": connector.secret_uid} if shares else document


def decode_connector(name: str, data: Mapping[str, Any], version: int, auth_methods: Container[str]) -> Connector:
    """Returns the connector in a document of that version, which has one of `auth_methods` or else uses a named secret.

    Raises KeyError, TypeError or ValueError where it is malformed. Connectors of earlier versions of the broker lack
    the fields that are read with `get`. Fields that only a later version knows are passed over, but for those that say
    where it leads: leaving such a thing out could lead elsewhere.
    """
    resource, resource_type = data["resource"], data["resource_type"]
    if resource_type is not None:  # None stands for all that there are.
        resource_type = _one_of(resource_type, RESOURCE_TYPES)
    expires_at = data.get("expires_at")
    return Connector(
        name=name,
        uid=str(data["uid"]),
        type=ConnectorType(data["type"]),
        auth_method=_one_of(data["auth_method"], ("",) if data.get("secret") else auth_methods),
        resource_type=resource_type,
        resource=_resource(resource, resource_type) if resource else None,
        azure=azure_config(data["azure"]),
        credential_version=int(data["credential_version"]),
        previous_credential_version=int(data.get("previous_credential_version", 0)),
        keys_not_before=int(data.get("keys_not_before", 0)),
        description=_text(data.get("description", "")),
        labels=_labels(data),
        expires_at=instant(expires_at) if expires_at is not None else None,
        expires_skew_tolerance=_seconds(data.get("expires_skew_tolerance"), least=0),
        unverified=bool(data.get("unverified", False)),
        version=version,
        created_at=instant(data["created_at"]),
        created_by=str(data["created_by"]),
        secret_uid=_text(data.get("secret", "")),
        origin=decode_origin(data.get("origin")),
        previous=decode_previous(data.get("previous")),
        rotation_schedule=decode_schedule(data.get("rotation_schedule")),
    )


def encode_secret(secret: NamedSecret) -> dict[str, Any]:
    """Returns the document of a named secret; its value is elsewhere."""
    return {
        "uid": secret.uid,
        "type": secret.type.value,
        "auth_method": secret.auth_method,
        "azure": asdict(secret.azure),
        "secret_fields": list(secret.secret_fields),
        "credential_version": secret.credential_version,
        "created_at": secret.created_at.isoformat(),
        "created_by": secret.created_by,
        "updated_at": secret.updated_at.isoformat(),
        "updated_by": secret.updated_by,
        "previous_credential_version": secret.previous_credential_version,
        "expires_at": secret.expires_at.isoformat() if secret.expires_at else None,
        "rotation": secret.rotation,
        "previous": encode_previous(secret.previous),
        "rotation_schedule": asdict(secret.rotation_schedule) if secret.rotation_schedule else None,
        "taken_from": secret.taken_from,
    }


def decode_secret(name: str, data: Mapping[str, Any], auth_methods: Container[str]) -> NamedSecret:
    """Returns the named secret in a document, which has one of `auth_methods`.

    Raises KeyError, TypeError or ValueError where it is malformed. Those of earlier versions have no end.
    """
    expires_at = data.get("expires_at")
    return NamedSecret(
        name=name,
        uid=str(uuid.UUID(_text(data["uid"]))),  # It is part of a path.
        type=ConnectorType(data["type"]),
        auth_method=_one_of(data["auth_method"], auth_methods),
        azure=azure_config(data["azure"]),
        secret_fields=tuple(_text(each) for each in _list(data["secret_fields"])),
        credential_version=int(data["credential_version"]),
        created_at=instant(data["created_at"]),
        created_by=str(data["created_by"]),
        updated_at=instant(data["updated_at"]),
        updated_by=str(data["updated_by"]),
        previous_credential_version=int(data["previous_credential_version"]),
        expires_at=instant(expires_at) if expires_at is not None else None,
        rotation=_text(data.get("rotation", "")),
        previous=decode_previous(data.get("previous")),
        rotation_schedule=decode_schedule(data.get("rotation_schedule")),
        taken_from=int(data.get("taken_from", 0)),
    )


def encode_api_key(key: ApiKey) -> dict[str, Any]:
    """Returns the document of an API key: of the secret only its hash."""
    return {
        "uid": key.uid,
        "sha256": key.digest.hex(),
        "roles": sorted(role.value for role in key.roles),
        "expires_at": key.expires_at.isoformat(),
        "created_at": key.created_at.isoformat(),
        "created_by": key.created_by,
        "earlier": [{"sha256": each.digest.hex(), "ends_at": each.ends_at.isoformat()} for each in key.earlier],
        "rotated_at": key.rotated_at.isoformat() if key.rotated_at else None,
        "rotated_by": key.rotated_by,
    }


def decode_api_key(name: str, data: Mapping[str, Any]) -> ApiKey:
    """Returns the API key in a document. Raises KeyError, TypeError or ValueError where it is malformed.

    Those of earlier versions of the broker were never rotated, and lack what is read with `get`.
    """
    rotated_at = data.get("rotated_at")
    return ApiKey(
        name=name,
        uid=str(data["uid"]),
        digest=bytes.fromhex(data["sha256"]),
        roles=frozenset(Role(role) for role in data["roles"]),
        expires_at=instant(data["expires_at"]),
        created_at=instant(data["created_at"]),
        created_by=str(data["created_by"]),
        earlier=tuple(
            EarlierDigest(bytes.fromhex(each["sha256"]), instant(each["ends_at"]))
            for each in _list(data.get("earlier", []))
        ),
        rotated_at=instant(rotated_at) if rotated_at is not None else None,
        rotated_by=_text(data.get("rotated_by", "")),
    )


def encode_grant(grant: Grant) -> dict[str, Any]:
    """Returns the document of a grant."""
    return {
        "uid": grant.uid,
        "principals": [pattern.text for pattern in grant.principals],
        "attributes": {name: pattern.text for name, pattern in grant.attributes},
        "connectors": [asdict(connector) for connector in grant.connectors],
        "containers": [pattern.text for pattern in grant.containers],
        "prefixes": list(grant.prefixes),
        "permissions": grant.permissions.sp,
        "consumer_role": grant.consumer_role.value if grant.consumer_role else None,
        "max_ttl": grant.max_ttl,
        "source_ip": grant.source_ip,
        "expires_at": grant.expires_at.isoformat() if grant.expires_at else None,
        "note": grant.note,
        "labels": dict(grant.labels),
        "created_at": grant.created_at.isoformat(),
        "created_by": grant.created_by,
    }


def decode_grant(name: str, data: Mapping[str, Any], version: int) -> Grant:
    """Returns the grant in a document of that version. Raises KeyError, TypeError or ValueError where it is malformed.

    A field that is missing, or that the API would not have let through, makes the whole grant malformed: leaving such
    a thing out could widen it.
    """
    return Grant(
        name=name,
        uid=str(data["uid"]),
        principals=tuple(Pattern(_text(text), "principals") for text in _some(data["principals"])),
        attributes=tuple((key, Pattern(_text(text), "attributes")) for key, text in dict(data["attributes"]).items()),
        connectors=tuple(GrantedConnector(_text(c["name"]), _text(c["uid"])) for c in _some(data["connectors"])),
        containers=tuple(ContainerPattern(_text(text), "containers") for text in _some(data["containers"])),
        prefixes=tuple(check_prefix("prefixes", _text(text)) for text in _list(data["prefixes"])),
        permissions=PermissionSet(Permission(letter) for letter in data["permissions"]),
        consumer_role=ConsumerRole(data["consumer_role"]) if data["consumer_role"] else None,
        max_ttl=_seconds(data["max_ttl"]),
        source_ip=parse_source_ip(data["source_ip"]) if data["source_ip"] else "",
        expires_at=instant(data["expires_at"]) if data["expires_at"] is not None else None,
        note=str(data["note"]),
        labels=_labels(data),
        version=version,
        created_at=instant(data["created_at"]),
        created_by=str(data["created_by"]),
    )


def _resource(data: Mapping[str, Any], resource_type: str | None) -> ResourceId:
    """Returns the one resource of a connector, by its type's naming rules."""
    if resource_type is None:
        raise ValueError("one resource, and no type of it")
    of_type = RESOURCE_TYPES[resource_type]
    parsed = of_type.parse(f"{of_type.scheme}://{_text(data['container'])}", "resource")
    return ResourceId(parsed.name, account=data["account"], type=resource_type)


def decode_schedule(data: Mapping[str, Any] | None) -> RotationSchedule | None:
    """Returns a schedule as a part of a document. Raises KeyError, TypeError or ValueError where it is malformed."""
    return RotationSchedule(int(data["every_seconds"]), _text(data["by"])) if data is not None else None


def _one_of(value: object, known: Container[str]) -> str:
    if value not in known:
        raise ValueError("not known to this version of the broker")
    return _text(value)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _some(value: object) -> list[Any]:
    if not _list(value):
        raise ValueError("an empty list")
    return _list(value)


def _labels(data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Returns the labels of a document, by name; those of earlier versions have none."""
    return tuple(sorted((_text(key), _text(value)) for key, value in dict(data.get("labels", {})).items()))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _seconds(value: object, *, least: int = 1) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError("not a number of seconds")
    return value
