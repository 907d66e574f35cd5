"""What an operator says of a connector, checked before anybody is asked: a definition in, a draft out."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from valetkey_broker.model import (
    RESOURCE_TYPES,
    AzureConfig,
    CloudProfile,
    Connector,
    ConnectorType,
    CredentialValue,
    InvalidFieldError,
    NamedSecret,
    ResourceId,
    Secret,
    check_account,
    check_name,
    check_uuid,
)
from valetkey_broker.model.descriptive_field_rules import check_description, check_future, check_labels, check_skew
from valetkey_broker.model.names import check_resource_group
from valetkey_broker.ports import AuthMethod, Clock

# What a connector may say itself where a named secret does not: in which part of what it leads to it looks.
_NARROWS = ("storage_account", "subscription_id", "resource_group")


@dataclass(frozen=True, slots=True)
class NewConnector:
    """What an operator asks to register, not yet validated. `secrets` are by field of the auth method; or else
    `authentication_secret` names what it is to use. `resource_type` None is for all types, or that of the
    `resource_id`.

    `expires_skew_tolerance` is in seconds. With `no_verify` it is stored without asking the cloud.
    """

    name: str
    type: ConnectorType
    auth_method: str
    resource_type: str | None
    resource_id: str
    azure: AzureConfig
    secrets: Mapping[str, Secret]
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None
    expires_skew_tolerance: int | None = None
    no_verify: bool = False
    authentication_secret: str = ""


class Definitions:
    """The rules of what may be said of a connector."""

    def __init__(
        self,
        *,
        auth_methods: Mapping[str, AuthMethod],
        profiles: Mapping[str, CloudProfile],
        default_cloud: str,
        clock: Clock,
    ) -> None:
        self._auth_methods = auth_methods
        self._profiles = profiles
        self._default_cloud = default_cloud
        self._clock = clock

    def draft(self, new: NewConnector, created_by: str) -> tuple[Connector, CredentialValue]:
        """Returns the connector that is asked for, not stored yet, and its credential. Raises InvalidFieldError."""
        config, resource, value = self.way(new.auth_method, new.resource_id, new.azure, new.secrets)
        return self._connector(new, config, resource, created_by, value), value

    def sharing(self, new: NewConnector, secret: NamedSecret, created_by: str) -> Connector:
        """Returns the connector that is asked for, as it works with a named secret. Raises InvalidFieldError."""
        if new.auth_method not in ("", secret.auth_method):
            raise InvalidFieldError("auth_method", f"is not that of the secret {secret.name}", secret.auth_method)
        if new.secrets:
            raise InvalidFieldError(
                min(new.secrets), "is given besides authentication_secret", "a secret of its own, or a named one"
            )
        own = {each.name: getattr(new.azure, each.name) for each in fields(AzureConfig)}
        for name, value in own.items():
            said = getattr(secret.azure, name)
            if value and value != said and (said or name not in _NARROWS):
                raise InvalidFieldError(
                    name, f"is not what the secret {secret.name} says", said or "it to be left out here"
                )
        config, resource = self._resource(new.resource_id, self._checked(replace(secret.azure, **_given(own))))
        # What the secret says too follows the secret.
        own = {n: v if v != getattr(secret.azure, n) else "" for n, v in asdict(config).items()}
        return secret.used_by(self._connector(new, AzureConfig(**own), resource, created_by, secret_uid=secret.uid))

    def _connector(
        self,
        new: NewConnector,
        config: AzureConfig,
        resource: ResourceId | None,
        created_by: str,
        value: CredentialValue | None = None,
        *,
        secret_uid: str = "",
    ) -> Connector:
        now = datetime.fromtimestamp(self._clock(), UTC)
        return Connector(
            name=check_name("name", new.name),
            uid=str(uuid.uuid4()),
            type=new.type,
            auth_method=new.auth_method,
            resource_type=type_of(new.resource_type, resource),
            resource=resource,
            azure=config,
            credential_version=0,
            created_at=now,
            created_by=created_by,
            description=check_description(new.description),
            labels=check_labels(new.labels),
            # Of a named secret's value the secret tells when it ends.
            expires_at=end_of(check_future(new.expires_at, now), value),
            expires_skew_tolerance=check_skew(new.expires_skew_tolerance),
            secret_uid=secret_uid,
        )

    def way(
        self, auth_method: str, resource_id: str, azure: AzureConfig, secrets: Mapping[str, Secret]
    ) -> tuple[AzureConfig, ResourceId | None, CredentialValue]:
        """Returns how and where a connector leads, in canonical form. Raises InvalidFieldError."""
        cloud = azure.cloud or self._default_cloud
        if cloud not in self._profiles:
            raise InvalidFieldError("cloud", "is not a cloud profile of this broker", ", ".join(sorted(self._profiles)))
        method = self._auth_methods.get(auth_method)
        if method is None:
            raise InvalidFieldError("auth_method", "is not known", ", ".join(sorted(self._auth_methods)))
        taken = [field.name for field in method.fields if field.secret]
        for name in secrets:
            if name not in taken:
                raise InvalidFieldError(name, f"is nothing that {method.name} takes", ", ".join(taken) or "no secret")
        config = self._checked(replace(azure, cloud=cloud))
        # First: an account that the full URL of a resource names need not be given once more.
        config, resource = self._resource(resource_id, config)
        config, value = method.parse(config, secrets, self._profiles[cloud])
        return config, resource, value

    def narrowed(self, connector: Connector, resource_id: str) -> Connector:
        """Returns the connector as one that serves `resource_id` only. Raises InvalidFieldError where it does not."""
        config, resource = self._resource(resource_id, connector.azure)
        if resource is None:
            return connector
        if resource.type not in connector.resource_types:
            problem = f"is a {resource.type}, which the connector does not serve"
            raise InvalidFieldError("resource_id", problem, f"a {connector.resource_type}")
        own = connector.resource
        if own is None:
            return replace(connector, azure=config, resource=resource, resource_type=resource.type)
        if resource.key != own.key or resource.account not in (None, own.account):
            raise InvalidFieldError("resource_id", "is not what the connector serves", str(own))
        return connector

    def _checked(self, azure: AzureConfig) -> AzureConfig:
        return replace(
            azure,
            storage_account=azure.storage_account and check_account("storage_account", azure.storage_account),
            subscription_id=azure.subscription_id and check_uuid("subscription_id", azure.subscription_id),
            resource_group=azure.resource_group and check_resource_group("resource_group", azure.resource_group),
        )

    def _resource(self, resource_id: str, config: AzureConfig) -> tuple[AzureConfig, ResourceId | None]:
        """Returns the configuration with the account that a full URL names, and the one resource to serve."""
        if not resource_id:
            return config, None
        resource = ResourceId.parse(resource_id)
        if resource.prefix:
            raise InvalidFieldError(
                "resource_id",
                "names a path inside the container",
                "a container: a connector serves whole containers",
            )
        if resource.account is None:
            return config, resource
        profile, of_type = self._profiles[config.cloud], RESOURCE_TYPES[resource.type]
        if resource.endpoint != of_type.endpoint(profile, resource.account):
            raise InvalidFieldError(
                "resource_id",
                f"its host is not of the cloud {config.cloud}",
                f"{of_type.endpoint(profile, 'ACCOUNT')}/{resource.container}",
            )
        if config.storage_account not in ("", resource.account):
            raise InvalidFieldError("resource_id", "names another account than storage_account", "one account")
        return replace(config, storage_account=resource.account), resource


def type_of(said: str | None, resource: ResourceId | None) -> str | None:
    """Returns the resource type of a connector, None for all of them: that of its one resource, which may say it.

    Raises InvalidFieldError for one of another type than is `said`.
    """
    if resource is None:
        return said
    if said not in (None, resource.type):
        raise InvalidFieldError(
            "resource_type", f"is {said}, and {resource} is a {resource.type}", f"{resource.type}, or nothing"
        )
    return resource.type


def end_of(said: datetime | None, value: CredentialValue | None) -> datetime | None:
    """Returns when a credential ends: when the operator said, or earlier, where it says so itself."""
    known = [each for each in (said, value.expires_at if value is not None else None) if each is not None]
    return min(known, default=None)


def secrets_in(method: AuthMethod, value: CredentialValue) -> Mapping[str, Secret]:
    """Returns the secret fields that make up a credential, by name, as somebody would give them."""
    encoded = method.encode(value)
    return {each.name: Secret(encoded[each.name]) for each in method.fields if each.secret and encoded.get(each.name)}


def _given(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in values.items() if value}


def pinned_unseen(draft: Connector) -> Connector:
    """Returns a draft whose container need not be looked for: its account is known. Raises InvalidFieldError."""
    own = draft.resource
    if own is None:
        return draft
    account = draft.azure.storage_account or own.account
    if not account:
        raise InvalidFieldError(
            "resource_id",
            "is a container whose storage account is not known, and nobody is to be asked",
            "the container's full URL, or a storage_account beside it; or let it be verified",
        )
    return replace(draft, resource=replace(own.whole, account=account))
