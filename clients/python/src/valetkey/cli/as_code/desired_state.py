"""What files say there shall be: connectors and grants, checked as far as can be told without the broker."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from valetkey import convert, enums_and_times
from valetkey.cli.as_code.resource_ids import canonical_resource
from valetkey.cli.as_code.secret_references import VARIABLE, SecretReference
from valetkey.cli.as_code.yaml_reading import Place, Value
from valetkey.cli.auth_methods import ALIASES, FIELDS, SECRET_FIELDS, AuthMethod, check_taken, recognised
from valetkey.cli.permission_and_attribute_parsing import parse_permissions
from valetkey.durations import parse_duration
from valetkey.errors import InvalidArgumentError
from valetkey.rotation_values import RotationSchedule
from valetkey.values import GrantSpec

OWNER = "valetkey/owner"
"""The label that says who applied an object: `--prune` removes nothing that lacks it."""
_NOTES = ("description", "labels", "expires_at", "expires_skew_tolerance", "rotate_every", "rotate_by")
_CONNECTOR = (
    "name",
    "type",
    "auth_method",
    "authentication_secret",
    "resource_type",
    "resource_id",
    *FIELDS,
    *_NOTES,
)
_GRANT = (
    "name",
    "principals",
    "attributes",
    "connectors",
    "containers",
    "prefixes",
    "permissions",
    "role",
    "max_ttl",
    "source_ip",
    "expires_at",
    "note",
    "labels",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorDocument:
    """A connector that shall be there. `config` has the API's names; what is not given is left to the broker.

    Without a resource type it is made for all of them; one that is there keeps what it has. One that uses a named
    secret, `authentication_secret`, has no auth method of its own.
    """

    place: Place
    name: str
    connector_type: str
    auth_method: AuthMethod | None
    authentication_secret: str
    resource_type: str
    resource_id: str
    config: Mapping[str, str]
    secrets: Mapping[str, SecretReference]
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    expire_time: datetime | None = None
    expires_skew_tolerance: timedelta | None = None
    schedule: RotationSchedule | None = None


@dataclass(frozen=True, slots=True)
class GrantDocument:
    """A grant that shall be there; it names its connectors."""

    place: Place
    name: str
    spec: GrantSpec


@dataclass(frozen=True, slots=True)
class Documents:
    """Everything that the files say, by name."""

    connectors: Mapping[str, ConnectorDocument]
    grants: Mapping[str, GrantDocument]


def read_documents(values: Collection[Value]) -> Documents:
    """Returns what YAML documents say. Raises InvalidArgumentError, with the place, for the first mistake."""
    connectors: dict[str, ConnectorDocument] = {}
    grants: dict[str, GrantDocument] = {}
    for value in values:
        sections = _known(value, "a file", ("connectors", "grants"))
        for each in _section(sections, "connectors"):
            connector = _connector(each)
            _once(connector.name, connector.place, connectors, "connector")
            connectors[connector.name] = connector
        for each in _section(sections, "grants"):
            grant = _grant(each)
            _once(grant.name, grant.place, grants, "grant")
            grants[grant.name] = grant
    if not connectors and not grants:
        raise InvalidArgumentError("nothing is said; expected connectors or grants (see docs/as-code.md)")
    return Documents(connectors, grants)


def _section(sections: Mapping[str, Value], name: str) -> list[Value]:
    return sections[name].values(name) if name in sections and sections[name].content != "" else []


def _once(name: str, place: Place, known: Mapping[str, Any], what: str) -> None:
    if name in known:
        raise InvalidArgumentError(f"{place}: the {what} {name} is there already, in {known[name].place}")


def _connector(value: Value) -> ConnectorDocument:
    fields = _known(value, "a connector", _CONNECTOR)
    name = _name(fields, value, "connector")
    texts = {
        key: each.text(key).strip() for key, each in fields.items() if key not in ("labels", *_NOTES) and key != "name"
    }
    given = {key: text for key, text in texts.items() if key in FIELDS and text}
    shared = texts.get("authentication_secret", "")
    method = None if shared else _auth_method(fields, given, value)
    if shared and (own := [key for key in ("auth_method", *SECRET_FIELDS) if key in fields]):
        raise value.error(f"{own[0]} is given, and authentication_secret, which says how to log in; leave one out")
    try:
        if method is not None:
            check_taken(method, given, name={key: key for key in given})
    except InvalidArgumentError as error:
        raise value.error(error.message) from None
    expires = fields.get("expires_at")
    tolerance = fields.get("expires_skew_tolerance")
    resource_id, account = canonical_resource(texts.get("resource_id", ""))
    config = {key: text for key, text in given.items() if key not in SECRET_FIELDS}
    if account:
        config.setdefault("storage_account", account)
    return ConnectorDocument(
        place=value.place,
        name=name,
        connector_type=texts.get("type", "azure"),
        auth_method=method,
        authentication_secret=shared,
        resource_type=_word(fields, "resource_type", enums_and_times.choices(enums_and_times.RESOURCE_TYPE)),
        resource_id=resource_id,
        config=config,
        secrets={key: _reference(key, fields[key], text) for key, text in given.items() if key in SECRET_FIELDS},
        description=fields["description"].text("description") if "description" in fields else "",
        labels=_labels(fields),
        expire_time=_moment(expires, "expires_at") if expires else None,
        expires_skew_tolerance=_duration(tolerance, "expires_skew_tolerance") if tolerance else None,
        schedule=_schedule(fields, value),
    )


def _schedule(fields: Mapping[str, Value], value: Value) -> RotationSchedule | None:
    by = fields["rotate_by"].text("rotate_by").strip() if "rotate_by" in fields else ""
    if "rotate_every" not in fields:
        if by:
            raise value.error("rotate_by is given without rotate_every; expected both, or neither")
        return None
    return RotationSchedule(_duration(fields["rotate_every"], "rotate_every"), by)


def _auth_method(fields: Mapping[str, Value], given: Mapping[str, str], value: Value) -> AuthMethod:
    if "auth_method" in fields:
        return AuthMethod(_word(fields, "auth_method", list(AuthMethod)))
    try:
        method = recognised(given)
    except InvalidArgumentError as error:
        raise value.error(error.message) from None
    if method is None:
        raise value.error("nothing says how the connector logs in; expected auth_method, or the fields of one")
    return method


def _word(fields: Mapping[str, Value], key: str, known: Collection[str]) -> str:
    """Returns one of the words that are known, empty where none is given."""
    text = fields[key].text(key).strip() if key in fields else ""
    if key in fields and text not in known:
        raise fields[key].error(f"{key}: {text} is not known; expected {', '.join(filter(None, known))}")
    return text


def _reference(key: str, value: Value, text: str) -> SecretReference:
    if not (text.startswith("@") and len(text) > 1) and not VARIABLE.fullmatch(text):
        raise value.error(
            f"{key} holds a value; expected @FILE or $NAME of the environment, for secrets do not belong into files "
            "that are kept in git. If it is a real one, take it for known, and make a new one"
        )
    return SecretReference(value.place, key, text)


def _grant(value: Value) -> GrantDocument:
    fields = _known(value, "a grant", _GRANT)
    name = _name(fields, value, "grant")
    for needed in ("principals", "connectors", "containers"):
        if needed not in fields or not fields[needed].texts(needed):
            raise value.error(f"the grant {name} has no {needed}")
    permissions = fields["permissions"].texts("permissions") if "permissions" in fields else ()
    role = _word(fields, "role", ["", *enums_and_times.choices(convert.CONSUMER_ROLE)])
    if bool(permissions) == bool(role):
        raise value.error(f"the grant {name} needs either permissions or a role")
    try:
        words = tuple(parse_permissions(permissions)) if permissions else ()
    except InvalidArgumentError as error:
        raise fields["permissions"].error(error.message.removeprefix("--")) from None
    attributes = fields["attributes"].names("attributes") if "attributes" in fields else {}
    texts = {key: fields[key].text(key) for key in ("source_ip", "note") if key in fields}
    lists = {key: fields[key].texts(key) if key in fields else () for key in _GRANT[1:6] if key != "attributes"}
    return GrantDocument(
        value.place,
        name,
        GrantSpec(
            principals=lists["principals"],
            connectors=lists["connectors"],
            containers=lists["containers"],
            prefixes=tuple(path.strip("/") for path in lists["prefixes"]),
            permissions=words,
            consumer_role=role,
            attributes={key: each.text(f"attributes: {key}") for key, each in attributes.items()},
            max_ttl=_duration(fields["max_ttl"], "max_ttl") if "max_ttl" in fields else None,
            source_ip=texts.get("source_ip", ""),
            expire_time=_moment(fields["expires_at"], "expires_at") if "expires_at" in fields else None,
            note=texts.get("note", ""),
            labels=_labels(fields),
        ),
    )


def _known(value: Value, what: str, names: Collection[str]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for given, each in value.names(what).items():
        name = given.replace("-", "_")
        name = ALIASES.get(name, name)
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            expected = f"did you mean {near[0]}?" if near else f"expected {', '.join(names)}"
            raise each.error(f"{given} is not known in {what}; {expected}")
        if name in found:
            raise each.error(f"{name} is given twice; expected each name once")
        found[name] = each
    return found


def _name(fields: Mapping[str, Value], value: Value, what: str) -> str:
    name = fields["name"].text("name").strip() if "name" in fields else ""
    if not name:
        raise value.error(f"a {what} has no name")
    return name


def _labels(fields: Mapping[str, Value]) -> dict[str, str]:
    if "labels" not in fields:
        return {}
    labels = {key: each.text(f"labels: {key}") for key, each in fields["labels"].names("labels").items()}
    if OWNER in labels:
        raise fields["labels"].error(f"labels: {OWNER} is set by --owner; leave it out")
    return labels


def _moment(value: Value, what: str) -> datetime:
    text = value.text(what)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise value.error(
            f"{what}: {text!r} is no time; expected one such as 2027-06-01T00:00:00Z: the same at each apply"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _duration(value: Value, what: str) -> timedelta:
    try:
        return parse_duration(value.text(what), what)
    except InvalidArgumentError as error:
        raise value.error(error.message) from None
