"""What a change is about, in a few words for its record. Of requests as they came: nothing in them has been checked."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from valetkey.v1 import common_pb2, connector_service_pb2, grant_service_pb2
from valetkey_broker.api.pasted_secrets import recordable_field, recordable_name, recordable_secret_name

Details = Mapping[str, str]
_MOST_WORDS = 50
_UUID = re.compile(r"[0-9a-fA-F-]{36}")
_SHAPES = {"storage_account": re.compile(r"[a-z0-9]{3,24}"), "client_id": _UUID, "tenant_id": _UUID}
_WORD = re.compile(r"[a-z0-9-]{1,63}")
_OTHER_SHAPES = {
    "cloud": _WORD,
    "implicit_source": _WORD,
    "subscription_id": _UUID,
    "resource_group": re.compile(r"[A-Za-z0-9_().-]{1,90}"),
}


def connector_summary(request: connector_service_pb2.CreateConnectorRequest) -> Details:
    """Returns how a new connector logs in, and to what."""
    azure = request.azure
    return {
        "auth_method": _word(connector_service_pb2.AuthMethod, "AUTH_METHOD_", request.auth_method),
        **_ids(azure),
        **_ids(azure, {"implicit_source": _WORD}),
        "resource": request.resource_id,
        "labels": _labels(request.labels),
        "credential_expires": _moment(request.expire_time) if request.HasField("expire_time") else "",
        "verified": "no" if request.no_verify else "",
        "shares": recordable_secret_name(request.authentication_secret),
    }


def connector_update_summary(request: connector_service_pb2.UpdateConnectorRequest) -> Details:
    """Returns what is changed of a connector, and what is taken away; of its secret, that there is a new one."""
    return {
        "auth_method": _word(connector_service_pb2.AuthMethod, "AUTH_METHOD_", request.auth_method),
        **_ids(request.azure, _OTHER_SHAPES),
        **_ids(request.azure),
        "resource": request.resource_id,
        "credential": "new" if request.azure_secret.ListFields() else "",
        "labels": _labels(request.labels),
        "credential_expires": _moment(request.expire_time) if request.HasField("expire_time") else "",
        "removed": _list(map(recordable_field, request.remove)),
        "verified": "no" if request.no_verify else "",
    }


def secret_summary(request: Any) -> Details:
    """Returns how connectors log in with a secret that is stored or changed; of its value, which fields were given."""
    azure = request.azure
    return {
        "auth_method": _word(connector_service_pb2.AuthMethod, "AUTH_METHOD_", request.auth_method),
        **_ids(azure),
        "fields": _list(field.name for field, _ in request.azure_secret.ListFields()),
        "removed": _list(map(recordable_field, getattr(request, "remove_fields", ()))),
        "credential_expires": _moment(request.expire_time) if request.HasField("expire_time") else "",
        "verified": "no" if getattr(request, "no_verify", False) else "",
    }


def rotation_summary(request: Any) -> Details:
    """Returns how something is to log in from now on; of the new credential, which fields were given."""
    ends = _moment(request.expire_time) if request.HasField("expire_time") else ""
    by_itself = (
        {"auto": "yes", "by": recordable_name(request.by), "at_once": "yes" if request.at_once else ""}
        if request.auto
        else {}
    )
    return {**secret_summary(request), "credential_expires": ends, **by_itself}


def schedule_summary(request: Any) -> Details:
    """Returns how often something is to get another credential by itself."""
    return {"every_seconds": str(request.schedule.every.seconds), "by": recordable_name(request.schedule.by)}


def renamed_secret_summary(request: Any) -> Details:
    """Returns how a secret is called from then on."""
    return {"new_name": recordable_secret_name(request.new_name)}


def grant_summary(request: Any) -> Details:
    """Returns who may have what by a grant that is made or changed."""
    grant = request.grant
    return {
        "principals": _list(grant.principals),
        "attributes": _labels(grant.attributes),
        "labels": _labels(grant.labels),
        "connectors": _list(recordable_name(connector.name) for connector in grant.connectors),
        "containers": _list(grant.containers),
        "prefixes": _list(grant.prefixes),
        "permissions": _words(common_pb2.Permission, "PERMISSION_", grant.permissions),
        "consumer_role": _word(grant_service_pb2.ConsumerRole, "CONSUMER_ROLE_", grant.consumer_role),
        "max_ttl": f"{grant.max_ttl.seconds}s" if grant.HasField("max_ttl") else "",
        "source_ip": grant.source_ip,
        "expires": _moment(grant.expire_time) if grant.HasField("expire_time") else "",
    }


def revocation_summary(request: Any) -> Details:
    """Returns what is revoked, and how."""
    target = request.target
    return {
        **{field.name: str(value) for field, value in target.ListFields()},
        "why": request.reason,
        "hard": "yes" if request.hard else "",
        "through": recordable_name(request.through),
    }


def api_key_summary(request: Any) -> Details:
    """Returns what the holder of a new key may do, and for how long."""
    return {
        "roles": _words(common_pb2.Role, "ROLE_", request.roles),
        "expires": _moment(request.expire_time) if request.HasField("expire_time") else "",
    }


def api_key_rotation_summary(request: Any) -> Details:
    """Returns how long what a key was before stays good, and until when the key lives."""
    return {
        "overlap": f"{request.overlap.seconds}s" if request.HasField("overlap") else "",
        "expires": _moment(request.expire_time) if request.HasField("expire_time") else "",
    }


def _ids(azure: Any, shapes: Mapping[str, re.Pattern[str]] = _SHAPES) -> Details:
    """Returns what a principal and an account are called by; of what cannot be that, the length: it may be a secret."""
    return {
        name: value if shape.fullmatch(value) else f"{len(value)} characters"
        for name, shape in shapes.items()
        if (value := getattr(azure, name))
    }


def _list(values: Iterable[str]) -> str:
    return ", ".join(islice(values, _MOST_WORDS))


def _labels(pairs: Mapping[str, str]) -> str:
    return _list(f"{name}={value}" for name, value in sorted(pairs.items()))


def _words(enum: Any, prefix: str, numbers: Iterable[int]) -> str:
    return _list(_word(enum, prefix, number) for number in numbers)


def _word(enum: Any, prefix: str, number: int) -> str:
    try:
        name = str(enum.Name(number)) if number else ""
    except ValueError:
        name = f"unknown-{number}"
    return name.removeprefix(prefix).lower().replace("_", "-")


def _moment(value: Timestamp) -> str:
    try:
        return datetime.fromtimestamp(value.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{value.seconds}s"
