"""Merges the fields that an update gives with the stored connector: pure, asks nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime

from valetkey_broker.connectors.connector_draft import Definitions, end_of, secrets_in, type_of
from valetkey_broker.model import (
    AzureConfig,
    Connector,
    CredentialValue,
    InvalidFieldError,
    NamedSecret,
    ResourceId,
    Secret,
    check_name,
)
from valetkey_broker.model.descriptive_field_rules import (
    check_description,
    check_future,
    check_label_key,
    check_labels,
    check_skew,
)
from valetkey_broker.model.errors import shown
from valetkey_broker.ports import AuthMethod, Clock

_LABEL = "labels."
_AZURE = frozenset(each.name for each in fields(AzureConfig))
# Where to look, which is no auth method's alone.
_PLACE = frozenset({"cloud", "storage_account", "subscription_id", "resource_group"})
_SERVED = frozenset({"resource_type", "resource_id"})
_REMOVABLE = _AZURE | _SERVED | {"description", "labels", "expire_time", "expires_skew_tolerance"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorChange:
    """What is to be changed, not yet validated; what is empty or None stays. See the API's `UpdateConnectorRequest`."""

    name: str
    auth_method: str = ""
    resource_type: str = ""
    resource_id: str = ""
    azure: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None
    expires_skew_tolerance: int | None = None
    remove: Sequence[str] = ()
    no_verify: bool = False

    @property
    def touches_the_way(self) -> bool:
        """Tells whether it says anything about how or where the connector leads, be it the same as before."""
        named = _AZURE | _SERVED
        given = self.auth_method or self.resource_type or self.resource_id or self.azure or self.secrets
        return bool(given) or any(name in named for name in self.remove)

    def checked(self) -> "ConnectorChange":
        """Returns itself if what it names can be named so. Raises InvalidFieldError."""
        check_name("name", self.name)
        noted = {
            "resource_type": self.resource_type,
            "resource_id": self.resource_id,
            "description": self.description,
            "expire_time": self.expires_at,
            "expires_skew_tolerance": self.expires_skew_tolerance is not None,
            **self.azure,
        }
        given = {name for name, value in noted.items() if value}
        for name in self.remove:
            if name.startswith(_LABEL):
                check_label_key(name.removeprefix(_LABEL), "remove")
                if name.removeprefix(_LABEL) in self.labels:
                    raise _both(name)
            elif name not in _REMOVABLE:
                raise InvalidFieldError(
                    "remove",
                    f"{shown(name)} is nothing that can be taken away",
                    f"some of {', '.join(sorted(_REMOVABLE))}, or labels.KEY",
                )
            elif name in given:
                raise _both(name)
        return self


def changed(
    before: Connector,
    value: CredentialValue | None,
    change: ConnectorChange,
    *,
    shared: NamedSecret | None,
    definitions: Definitions,
    auth_methods: Mapping[str, AuthMethod],
    clock: Clock,
) -> tuple[Connector, CredentialValue | None]:
    """Returns the connector as it is to be, and its new credential, None where it keeps the one it has.

    `value` is the one it has, None where that is lost; `shared` the named secret that it uses, if any. A secret that is
    given is all of the new credential. Raises InvalidFieldError.
    """
    after, credential = before, None
    if shared is not None:
        if change.touches_the_way:
            after = _narrowed(before, value, change, shared, definitions, auth_methods)
    elif change.touches_the_way:
        after, given = _way(before, value, change, definitions, auth_methods)
        credential = given if given != value or after.auth_method != before.auth_method else None
    now = datetime.fromtimestamp(clock(), UTC)
    removed = set(change.remove)
    labels = {} if "labels" in removed else {k: v for k, v in before.labels if f"{_LABEL}{k}" not in removed}
    # The end is that of a credential: it is not the next one's.
    ends = None if "expire_time" in removed or credential is not None else before.expires_at
    skew = None if "expires_skew_tolerance" in removed else before.expires_skew_tolerance
    return (
        replace(
            after,
            description=check_description(change.description)
            or ("" if "description" in removed else before.description),
            labels=check_labels({**labels, **change.labels}),
            expires_at=end_of(check_future(change.expires_at, now) or ends, credential or value),
            expires_skew_tolerance=skew
            if change.expires_skew_tolerance is None
            else check_skew(change.expires_skew_tolerance),
        ),
        credential,
    )


def _narrowed(
    before: Connector,
    value: CredentialValue | None,
    change: ConnectorChange,
    shared: NamedSecret,
    definitions: Definitions,
    auth_methods: Mapping[str, AuthMethod],
) -> Connector:
    """Returns a connector that says itself what is to be changed; what is its named secret's stays that."""
    for name in ("auth_method", *change.secrets):
        if name != "auth_method" or change.auth_method not in ("", before.auth_method):
            raise InvalidFieldError(
                name, f"is that of the secret {shared.name}", f"valetkey secret update {shared.name}, or leave it out"
            )
    own = before.own_azure or before.azure
    said = replace(before, azure=own)
    wanted = shared.used_by(replace(said, own_azure=_azure(said, change, before.auth_method, auth_methods)))
    rest = replace(change, azure={}, remove=[name for name in change.remove if name in _SERVED])
    after, _ = _way(replace(before, azure=wanted.azure), value, rest, definitions, auth_methods)
    if after.azure.cloud != before.azure.cloud:
        raise InvalidFieldError("cloud", "is another one, and a stored secret is sent to no other cloud", "the same")
    config = asdict(after.azure)
    theirs, mine = asdict(shared.azure), asdict(wanted.own_azure or own)
    kept = {name: text if mine[name] or text != theirs[name] else "" for name, text in config.items()}
    return replace(after, own_azure=AzureConfig(**kept))


def _way(
    before: Connector,
    value: CredentialValue | None,
    change: ConnectorChange,
    definitions: Definitions,
    auth_methods: Mapping[str, AuthMethod],
) -> tuple[Connector, CredentialValue]:
    auth_method = change.auth_method or before.auth_method
    azure = _azure(before, change, auth_method, auth_methods)
    stored: Mapping[str, Secret] = {}
    if value is not None and auth_method == before.auth_method:
        stored = secrets_in(auth_methods[auth_method], value)
    resource_id = change.resource_id
    if not resource_id and before.resource is not None and "resource_id" not in change.remove:
        resource_id = str(before.resource)
    config, resource, given = definitions.way(auth_method, resource_id, azure, change.secrets or stored)
    if stored and not change.secrets and config.cloud != before.azure.cloud:
        raise InvalidFieldError(
            "cloud", "is another one, and a stored secret is sent to no other cloud", "the secret beside it"
        )
    return replace(
        before,
        auth_method=auth_method,
        azure=config,
        resource_type=_type(before, resource, change),
        resource=_kept(before, config, resource, change),
    ), given


def _type(before: Connector, resource: ResourceId | None, change: ConnectorChange) -> str | None:
    """Returns the resource type, None for all of them."""
    if "resource_type" not in change.remove:
        return type_of(change.resource_type or before.resource_type, resource)
    if resource is not None:
        raise InvalidFieldError(
            "remove", f"resource_type is that of {resource}", "resource_id beside it, or neither of them"
        )
    return None


def _azure(
    before: Connector, change: ConnectorChange, auth_method: str, auth_methods: Mapping[str, AuthMethod]
) -> AzureConfig:
    given = {name: value for name, value in change.azure.items() if value}
    gone = _AZURE.intersection(change.remove)
    if auth_method != before.auth_method:
        gone |= _plain_fields(auth_methods, before.auth_method) - _plain_fields(auth_methods, auth_method) - _PLACE
    own = before.resource
    if auth_method != before.auth_method and own is not None and own.account and not change.resource_id:
        given = {"storage_account": own.account, **given}  # It was found; the new one may not be able to look.
    if change.resource_id and "storage_account" not in given and ResourceId.parse(change.resource_id).account:
        gone |= {"storage_account"}  # A full URL says the account.
    return AzureConfig(**{**asdict(before.azure), **dict.fromkeys(gone, ""), **given})


def _plain_fields(auth_methods: Mapping[str, AuthMethod], name: str) -> frozenset[str]:
    """Returns the fields of `AzureConfig` that belong to an auth method."""
    method = auth_methods.get(name)
    return _AZURE.intersection(each.name for each in method.fields if not each.secret) if method else frozenset()


def _kept(
    before: Connector, config: AzureConfig, resource: ResourceId | None, change: ConnectorChange
) -> ResourceId | None:
    """Returns the one resource, with the account that was found for it before where that still holds."""
    own = before.resource
    if resource is None or own is None or change.resource_id or resource.account is not None:
        return resource
    same = config.cloud == before.azure.cloud and config.storage_account in ("", own.account)
    return own if same and "storage_account" not in change.remove else resource


def _both(name: str) -> InvalidFieldError:
    return InvalidFieldError("remove", f"{name} is given as well", "one or the other")
